//! From text to nodes.

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Text(String),
    Action(Action),
}

/// What stands between `{{` and `}}`: commands, each passed the value of the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) commands: Vec<Command>,
}

/// A function or value and what it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) place: Place,
    /// As it was written, for messages.
    pub(super) text: String,
    pub(super) operands: Vec<Operand>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operand {
    /// `checksum`
    Function(String),
    /// `.Environment.X`, without the first dot.
    Field(String),
    /// `"text"`
    Text(String),
    /// `( … )`
    Group(Action),
}

/// Line, and bytes from its beginning, as Go counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    line: usize,
    column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

const KEYWORDS: [&str; 11] = [
    "if", "else", "end", "range", "with", "define", "template", "block", "break", "continue", "nil",
];
/// Parentheses in parentheses; more is no key.
const DEPTH_MAX: usize = 32;

pub(super) fn parse(source: &str) -> Result<Vec<Node>, String> {
    let mut nodes = Vec::new();
    let mut at = 0;
    let mut trim_next = false;
    while at < source.len() {
        let open = source[at..].find("{{").map_or(source.len(), |found| at + found);
        let inner = (open + 2).min(source.len());
        let trims =
            source[inner..].strip_prefix('-').is_some_and(|rest| rest.starts_with(is_space));
        let mut text = &source[at..open];
        if trim_next {
            text = text.trim_start_matches(is_space);
        }
        if trims {
            text = text.trim_end_matches(is_space);
        }
        if !text.is_empty() {
            nodes.push(Node::Text(text.to_owned()));
        }
        if open == source.len() {
            break;
        }
        let mut parser = Parser { source, at: inner + usize::from(trims), depth: 0 };
        if let Some(action) = parser.action()? {
            nodes.push(Node::Action(action));
        }
        trim_next = parser.close()?;
        at = parser.at;
    }
    Ok(nodes)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

struct Parser<'a> {
    source: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(is_space).len();
    }

    fn place(&self, at: usize) -> Place {
        let before = &self.source[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place { line: before.matches('\n').count() + 1, column: at - line_start }
    }

    /// A message as Go's parser gives it: with the line only.
    fn fault<T>(&self, what: impl std::fmt::Display) -> Result<T, String> {
        Err(format!("{}: {what}", self.place(self.at).line))
    }

    /// Nothing for a comment.
    fn action(&mut self) -> Result<Option<Action>, String> {
        let start = self.rest();
        let comment = start.trim_start_matches(is_space);
        if comment.starts_with("/*") {
            let Some(end) = comment.find("*/") else { return self.fault("unclosed comment") };
            self.at += start.len() - comment.len() + end + 2;
            let rest = self.rest().trim_start_matches(is_space);
            if rest.starts_with("}}") || rest.starts_with("-}}") {
                return Ok(None);
            }
            return self.fault("comment ends before closing delimiter");
        }
        self.pipeline("command").map(Some)
    }

    /// The end of an action; says whether white space after it goes.
    fn close(&mut self) -> Result<bool, String> {
        let before = self.at;
        self.skip_space();
        let spaced = self.at > before || self.source[..self.at].ends_with(is_space);
        if spaced && self.rest().starts_with("-}}") {
            self.at += 3;
            return Ok(true);
        }
        if self.rest().starts_with("}}") {
            self.at += 2;
            return Ok(false);
        }
        self.fault("unclosed action")
    }

    fn at_end(&self) -> bool {
        let rest = self.rest();
        let trimming = rest.starts_with("-}}") && self.source[..self.at].ends_with(is_space);
        rest.is_empty() || rest.starts_with("}}") || rest.starts_with(')') || trimming
    }

    fn pipeline(&mut self, context: &str) -> Result<Action, String> {
        let mut commands = Vec::new();
        loop {
            self.skip_space();
            let start = self.at;
            let mut operands = Vec::new();
            while !self.at_end() && !self.rest().starts_with('|') {
                operands.push(self.operand()?);
                let before = self.at;
                self.skip_space();
                if self.at == before && !self.at_end() && !self.rest().starts_with('|') {
                    return self.unexpected("operand");
                }
            }
            if operands.is_empty() {
                if self.rest().is_empty() {
                    return self.fault("unclosed action");
                }
                let what = if commands.is_empty() {
                    "missing value for"
                } else {
                    "missing value for piped"
                };
                return self.fault(format_args!("{what} {context}"));
            }
            let text = self.source[start..self.at].trim_end_matches(is_space).to_owned();
            commands.push(Command { place: self.place(start), text, operands });
            if !self.rest().starts_with('|') {
                return Ok(Action { commands });
            }
            self.at += 1;
        }
    }

    fn operand(&mut self) -> Result<Operand, String> {
        let rest = self.rest();
        match rest.chars().next() {
            Some('"') => self.quoted(),
            Some('`') => {
                let Some(end) = rest[1..].find('`') else {
                    return self.fault("unterminated raw quoted string");
                };
                self.at += end + 2;
                Ok(Operand::Text(rest[1..=end].to_owned()))
            }
            Some('(') => {
                if self.depth == DEPTH_MAX {
                    return self.fault("parentheses are nested too deeply");
                }
                self.depth += 1;
                self.at += 1;
                let group = self.pipeline("parenthesized pipeline")?;
                self.depth -= 1;
                if !self.rest().starts_with(')') {
                    return self.fault("unclosed left paren");
                }
                self.at += 1;
                Ok(Operand::Group(group))
            }
            Some('.') => {
                let name = &rest[1..=word_len(&rest[1..], true)];
                if name.is_empty() || name.ends_with('.') || name.contains("..") {
                    return self.unexpected("field");
                }
                self.at += 1 + name.len();
                Ok(Operand::Field(name.to_owned()))
            }
            Some(c) if c.is_alphabetic() || c == '_' => {
                let name = &rest[..word_len(rest, false)];
                if KEYWORDS.contains(&name) {
                    return self.fault(format_args!(
                        "{{{{{name}}}}} is not supported in cache keys: only fields and checksum, epoch, arch, os_arch are"
                    ));
                }
                self.at += name.len();
                Ok(Operand::Function(name.to_owned()))
            }
            _ => self.unexpected("command"),
        }
    }

    /// Go's interpreted string literals.
    fn quoted(&mut self) -> Result<Operand, String> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(Operand::Text(text));
                }
                '\n' => break,
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, c @ ('"' | '\\'))) => text.push(c),
                    _ => return self.fault("invalid escape in a quoted string; only \\\", \\\\, \\n and \\t are supported"),
                },
                c => text.push(c),
            }
        }
        self.fault("unterminated quoted string")
    }

    fn unexpected<T>(&self, context: &str) -> Result<T, String> {
        match self.rest().chars().next() {
            Some(c) => self.fault(format_args!("unexpected {c:?} in {context}")),
            None => self.fault("unclosed action"),
        }
    }
}

fn word_len(text: &str, dots: bool) -> usize {
    let belongs = |c: char| c.is_alphanumeric() || c == '_' || dots && c == '.';
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}
