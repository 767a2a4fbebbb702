//! Text to tokens. Follows Go's lexer in what it takes for a token and in what it says of the rest.

/// The characters that separate words and that trimming removes.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text outside actions, trimmed as asked for.
    Text,
    LeftDelim,
    RightDelim,
    Space,
    Identifier,
    /// `if`, `end` and the like.
    Keyword,
    /// `nil`, numbers, `true`, `'c'`: constants that keys have no use for.
    Constant,
    Field,
    Dot,
    Variable,
    Quoted,
    Raw,
    Pipe,
    LeftParen,
    RightParen,
    /// Punctuation that means something elsewhere, or nothing.
    Other,
    Eof,
    /// What cannot be read; the token's reason says why. Nothing follows.
    Bad,
}

#[derive(Debug, Clone)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// Byte offset in the template.
    pub(super) at: usize,
    pub(super) text: &'a str,
    /// For [`Kind::Bad`].
    pub(super) reason: String,
}

/// All tokens of `input`; the last is [`Kind::Eof`] or [`Kind::Bad`].
pub(super) fn tokens(input: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { input, at: 0, start: 0, paren_depth: 0, tokens: Vec::new() };
    if let Err(reason) = lexer.run() {
        let (kind, at) = (Kind::Bad, lexer.start);
        lexer.tokens.push(Token { kind, at, text: "", reason });
    }
    lexer.tokens
}

struct Lexer<'a> {
    input: &'a str,
    /// Where the next character is read.
    at: usize,
    /// Where the token under way began.
    start: usize,
    paren_depth: usize,
    tokens: Vec<Token<'a>>,
}

impl<'a> Lexer<'a> {
    fn run(&mut self) -> Result<(), String> {
        let mut trim = false;
        while let Some(length) = self.rest().find("{{") {
            let delim = self.at + length;
            let trims_before = trims_before(&self.input[delim + 2..]);
            self.text(delim, trim, trims_before);
            (self.at, self.start) = (delim, delim);
            let marker = if trims_before { 2 } else { 0 };
            if self.input[delim + 2 + marker..].starts_with("/*") {
                self.at += 2 + marker;
                trim = self.comment()?;
                continue;
            }
            self.at += 2;
            self.push(Kind::LeftDelim);
            self.at += marker;
            self.start = self.at;
            trim = self.action()?;
        }
        self.text(self.input.len(), trim, false);
        (self.at, self.start) = (self.input.len(), self.input.len());
        self.push(Kind::Eof);
        Ok(())
    }

    fn text(&mut self, end: usize, trim_start: bool, trim_end: bool) {
        let mut text = &self.input[self.at..end];
        if trim_start {
            text = text.trim_start_matches(SPACES);
        }
        let at = end - text.len();
        if trim_end {
            text = text.trim_end_matches(SPACES);
        }
        if !text.is_empty() {
            self.tokens.push(Token { kind: Kind::Text, at, text, reason: String::new() });
        }
    }

    /// From `/*` to behind the action's end; says whether the text after it is to be trimmed.
    fn comment(&mut self) -> Result<bool, String> {
        self.start = self.at;
        let end = self.rest()[2..].find("*/").ok_or("unclosed comment")?;
        self.at += end + 4;
        let trim = self.right_delim().ok_or("comment ends before closing delimiter")?;
        self.at += if trim { 4 } else { 2 };
        Ok(trim)
    }

    /// From behind `{{` to behind `}}`; says whether the text after it is to be trimmed.
    fn action(&mut self) -> Result<bool, String> {
        self.paren_depth = 0;
        loop {
            self.start = self.at;
            if let Some(trim) = self.right_delim() {
                if self.paren_depth > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                if trim {
                    self.at += 2;
                    self.start = self.at;
                }
                self.at += 2;
                self.push(Kind::RightDelim);
                return Ok(trim);
            }
            let Some(first) = self.next() else { return Err("unclosed action".to_owned()) };
            let kind = self.token(first)?;
            self.push(kind);
        }
    }

    fn token(&mut self, first: char) -> Result<Kind, String> {
        match first {
            _ if SPACES.contains(&first) => {
                // The last space of ` -}}` belongs to the marker.
                while self.peek().is_some_and(|next| SPACES.contains(&next))
                    && self.right_delim().is_none()
                {
                    self.next();
                }
                Ok(Kind::Space)
            }
            '"' => self.quoted('"', "unterminated quoted string").map(|()| Kind::Quoted),
            '`' => {
                let length = self.rest().find('`').ok_or("unterminated raw quoted string")?;
                self.at += length + 1;
                Ok(Kind::Raw)
            }
            '\'' => self.quoted('\'', "unterminated character constant").map(|()| Kind::Constant),
            '|' => Ok(Kind::Pipe),
            '(' => {
                self.paren_depth += 1;
                Ok(Kind::LeftParen)
            }
            ')' => {
                self.paren_depth =
                    self.paren_depth.checked_sub(1).ok_or("unexpected right paren")?;
                Ok(Kind::RightParen)
            }
            '.' if self.peek().is_some_and(|next| !next.is_ascii_digit()) => {
                self.name(Kind::Dot, Kind::Field)
            }
            '$' => self.name(Kind::Variable, Kind::Variable),
            '.' | '+' | '-' | '0'..='9' => Ok(self.number()),
            ':' if self.peek() != Some('=') => Err("expected :=".to_owned()),
            ':' => {
                self.next();
                Ok(Kind::Other)
            }
            _ if is_word(first) => self.word(),
            ' '..='~' => Ok(Kind::Other),
            _ => Err(format!("unrecognized character in action: {}", shown(first))),
        }
    }

    fn quoted(&mut self, quote: char, unterminated: &str) -> Result<(), String> {
        loop {
            match self.next() {
                Some('\\') if !matches!(self.peek(), None | Some('\n')) => {
                    self.next();
                }
                None | Some('\n' | '\\') => return Err(unterminated.to_owned()),
                Some(next) if next == quote => return Ok(()),
                Some(_) => {}
            }
        }
    }

    /// After `.` or `$`: `alone`, or `named` when a name follows.
    fn name(&mut self, alone: Kind, named: Kind) -> Result<Kind, String> {
        if self.at_terminator() {
            return Ok(alone);
        }
        self.skip_word();
        self.check_terminated().map(|()| named)
    }

    fn word(&mut self) -> Result<Kind, String> {
        self.skip_word();
        self.check_terminated()?;
        Ok(match &self.input[self.start..self.at] {
            "block" | "break" | "continue" | "define" | "else" | "end" | "if" | "range"
            | "template" | "with" => Kind::Keyword,
            "true" | "false" | "nil" => Kind::Constant,
            _ => Kind::Identifier,
        })
    }

    /// Numbers are refused later, whatever they are; here they only need an end.
    fn number(&mut self) -> Kind {
        let in_number = |next: char| is_word(next) || matches!(next, '.' | '+' | '-');
        while self.peek().is_some_and(in_number) && self.right_delim().is_none() {
            self.next();
        }
        Kind::Constant
    }

    fn skip_word(&mut self) {
        while self.peek().is_some_and(is_word) {
            self.next();
        }
    }

    fn check_terminated(&self) -> Result<(), String> {
        match self.peek() {
            Some(next) if !self.at_terminator() => Err(format!("bad character {}", shown(next))),
            _ => Ok(()),
        }
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(_) => self.rest().starts_with("}}"),
        }
    }

    /// Whether an action ends here, and if so whether it trims.
    fn right_delim(&self) -> Option<bool> {
        let rest = self.rest();
        if rest.starts_with("}}") {
            return Some(false);
        }
        let marked = rest.strip_prefix(SPACES).is_some_and(|rest| rest.starts_with("-}}"));
        marked.then_some(true)
    }

    fn push(&mut self, kind: Kind) {
        let text = &self.input[self.start..self.at];
        self.tokens.push(Token { kind, at: self.start, text, reason: String::new() });
        self.start = self.at;
    }

    fn rest(&self) -> &'a str {
        &self.input[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }
}

/// Whether what follows `{{` asks for the text before it to be trimmed.
fn trims_before(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(SPACES))
}

fn is_word(next: char) -> bool {
    next == '_' || next.is_alphanumeric()
}

/// A character as Go's `%#U` shows it.
fn shown(character: char) -> String {
    let number = format!("U+{:04X}", u32::from(character));
    if character.is_control() { number } else { format!("{number} '{character}'") }
}
