//! Tokens to a tree.

use std::fmt;

use super::Error;
use super::lex::{Kind, Token, tokens};
use super::unquote::unquote;

/// Deeper parentheses are refused, which bounds the recursion.
const PARENS_MAX: usize = 64;

/// Functions that Go knows in every template; none of CircleCI's documents uses one in a key.
const REFUSED: [&str; 19] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or",
    "print", "printf", "println", "slice", "urlquery",
];

/// A template that can be rendered.
#[derive(Debug, Clone)]
pub struct Template {
    pub(super) source: String,
    pub(super) parts: Vec<Part>,
}

#[derive(Debug, Clone)]
pub(super) enum Part {
    Text(String),
    Action(Pipeline),
}

/// `a | b | c`: each command gets the value of the one before as its last argument.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    pub(super) at: usize,
    pub(super) commands: Vec<Command>,
}

/// A function or value and its arguments; never empty.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) at: usize,
    pub(super) operands: Vec<Operand>,
}

#[derive(Debug, Clone)]
pub(super) struct Operand {
    /// Byte offset in the template, by which errors are located.
    pub(super) at: usize,
    pub(super) term: Term,
}

#[derive(Debug, Clone)]
pub(super) enum Term {
    Function(Function),
    /// `.A.B`
    Field(Vec<String>),
    /// The literal as written, and what it stands for.
    Text(String, String),
    Parens(Pipeline),
    /// Fields of what is not itself a field: `(…).A`.
    Chain(Box<Operand>, Vec<String>),
    Dot,
}

/// What keys may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Checksum,
    Epoch,
    Arch,
    OsArch,
}

impl Function {
    const ALL: [Self; 4] = [Self::Checksum, Self::Epoch, Self::Arch, Self::OsArch];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Checksum => "checksum",
            Self::Epoch => "epoch",
            Self::Arch => "arch",
            Self::OsArch => "os_arch",
        }
    }

    /// How many it takes.
    pub(super) fn arguments(self) -> usize {
        usize::from(self == Self::Checksum)
    }
}

/// Reads a template; [`Template::render`] computes it.
pub fn parse(source: &str) -> Result<Template, Error> {
    let mut parser = Parser { source, tokens: tokens(source), next: 0, depth: 0, action_line: 0 };
    let parts = parser.parts()?;
    Ok(Template { source: source.to_owned(), parts })
}

/// Lines are counted from 1.
pub(super) fn line_of(source: &str, at: usize) -> usize {
    1 + source[..at].matches('\n').count()
}

struct Parser<'a> {
    source: &'a str,
    /// Never empty; the last is `Eof` or `Bad` and is never passed.
    tokens: Vec<Token<'a>>,
    next: usize,
    depth: usize,
    /// The line of the action under way.
    action_line: usize,
}

impl<'a> Parser<'a> {
    fn parts(&mut self) -> Result<Vec<Part>, Error> {
        let mut parts = Vec::new();
        loop {
            let token = self.advance();
            match token.kind {
                Kind::Text => parts.push(Part::Text(token.text.to_owned())),
                Kind::LeftDelim => {
                    self.action_line = line_of(self.source, token.at);
                    parts.push(Part::Action(self.action()?));
                }
                Kind::Eof => return Ok(parts),
                _ => return Err(self.unexpected(&token, "input")),
            }
        }
    }

    fn action(&mut self) -> Result<Pipeline, Error> {
        self.skip_space();
        let token = self.peek();
        if token.kind == Kind::Keyword {
            let reason = format!("Larder does not support {{{{{}}}}} in keys", token.text);
            return Err(self.error(token.at, reason));
        }
        self.pipeline("command", Kind::RightDelim)
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipeline, Error> {
        self.skip_space();
        let mut pipeline = Pipeline { at: self.peek().at, commands: Vec::new() };
        loop {
            self.skip_space();
            let token = self.peek().clone();
            match token.kind {
                kind if kind == end => {
                    self.advance();
                    self.check(&pipeline, context, token.at)?;
                    return Ok(pipeline);
                }
                Kind::Identifier
                | Kind::Constant
                | Kind::Field
                | Kind::Dot
                | Kind::Variable
                | Kind::Quoted
                | Kind::Raw
                | Kind::LeftParen => pipeline.commands.push(self.command()?),
                _ => return Err(self.unexpected(&token, context)),
            }
        }
    }

    fn check(&self, pipeline: &Pipeline, context: &str, at: usize) -> Result<(), Error> {
        if pipeline.commands.is_empty() {
            return Err(self.error(at, format!("missing value for {context}")));
        }
        for (stage, command) in pipeline.commands.iter().enumerate().skip(1) {
            if matches!(command.operands[0].term, Term::Text(..) | Term::Dot) {
                let reason = format!("non executable command in pipeline stage {}", stage + 1);
                return Err(self.error(at, reason));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command, Error> {
        self.skip_space();
        let mut command = Command { at: self.peek().at, operands: Vec::new() };
        loop {
            self.skip_space();
            command.operands.extend(self.operand()?);
            let token = self.peek().clone();
            match token.kind {
                Kind::Space => {
                    self.advance();
                }
                Kind::RightDelim | Kind::RightParen => break,
                Kind::Pipe => {
                    self.advance();
                    break;
                }
                _ => return Err(self.unexpected(&token, "operand")),
            }
        }
        if command.operands.is_empty() {
            return Err(self.error(self.peek().at, "empty command".to_owned()));
        }
        Ok(command)
    }

    /// A term and the fields after it; nothing where no term begins.
    fn operand(&mut self) -> Result<Option<Operand>, Error> {
        let Some(term) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(term));
        }
        let at = self.peek().at;
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            fields.push(self.advance().text[1..].to_owned());
        }
        let term = match term.term {
            Term::Field(mut before) => {
                before.append(&mut fields);
                Term::Field(before)
            }
            Term::Text(..) | Term::Dot => {
                let reason = format!("unexpected . after term {}", go_quoted(&term.to_string()));
                return Err(self.error(self.peek().at, reason));
            }
            _ => Term::Chain(Box::new(term), fields),
        };
        Ok(Some(Operand { at, term }))
    }

    fn term(&mut self) -> Result<Option<Operand>, Error> {
        let token = self.peek().clone();
        let term = match token.kind {
            Kind::Identifier => self.function(&token)?,
            Kind::Dot => Term::Dot,
            Kind::Field => Term::Field(vec![token.text[1..].to_owned()]),
            Kind::Quoted | Kind::Raw => {
                let text = unquote(token.text);
                let text = text.ok_or_else(|| self.error(token.at, "invalid syntax".to_owned()))?;
                Term::Text(token.text.to_owned(), text)
            }
            Kind::LeftParen => {
                self.advance();
                self.depth += 1;
                if self.depth > PARENS_MAX {
                    let reason =
                        format!("Larder takes at most {PARENS_MAX} parentheses in one another");
                    return Err(self.error(token.at, reason));
                }
                let pipeline = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.depth -= 1;
                return Ok(Some(Operand { at: pipeline.at, term: Term::Parens(pipeline) }));
            }
            Kind::Variable if token.text.len() > 1 && !self.declares() => {
                let reason = format!("undefined variable {}", go_quoted(token.text));
                return Err(self.error(token.at, reason));
            }
            Kind::Variable | Kind::Constant => {
                return Err(self.error(token.at, unsupported(&token)));
            }
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some(Operand { at: token.at, term }))
    }

    fn function(&self, token: &Token<'_>) -> Result<Term, Error> {
        let name = token.text;
        if let Some(function) = Function::ALL.into_iter().find(|known| known.name() == name) {
            return Ok(Term::Function(function));
        }
        let reason = if REFUSED.contains(&name) {
            format!("Larder does not support the function {} in keys", go_quoted(name))
        } else {
            format!("function {} not defined", go_quoted(name))
        };
        Err(self.error(token.at, reason))
    }

    fn unexpected(&self, token: &Token<'_>, context: &str) -> Error {
        let reason = match token.kind {
            Kind::Bad => {
                let started = if self.action_line == 0
                    || self.action_line == line_of(self.source, token.at)
                {
                    String::new()
                } else if token.reason.ends_with(" action") {
                    format!(" started at cacheKey:{}", self.action_line)
                } else {
                    format!(" in action started at cacheKey:{}", self.action_line)
                };
                format!("{}{started}", token.reason)
            }
            Kind::Constant => unsupported(token),
            Kind::Eof => format!("unexpected EOF in {context}"),
            Kind::Keyword | Kind::Dot => format!("unexpected <{}> in {context}", token.text),
            _ => {
                let short: String = token.text.chars().take(10).collect();
                let dots = if token.text.len() > 10 { "..." } else { "" };
                format!("unexpected {}{dots} in {context}", go_quoted(&short))
            }
        };
        self.error(token.at, reason)
    }

    fn error(&self, at: usize, reason: String) -> Error {
        Error::Parse { line: line_of(self.source, at), reason }
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.advance();
        }
    }

    /// Whether the variable that is next is given a value.
    fn declares(&self) -> bool {
        let mut after = self.tokens[self.next + 1..].iter();
        let next = after.find(|token| token.kind != Kind::Space);
        next.is_some_and(|token| token.text == ":=")
    }

    fn peek(&self) -> &Token<'a> {
        &self.tokens[self.next]
    }

    /// The next token, which is passed unless it is the last.
    fn advance(&mut self) -> Token<'a> {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }
}

fn unsupported(token: &Token<'_>) -> String {
    format!("Larder does not support `{}` in keys", token.text)
}

/// Text as Go's `%q` prints it, for what templates are made of.
fn go_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(f, &self.commands, " | ")
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(f, &self.operands, " ")
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.term {
            Term::Function(function) => f.write_str(function.name()),
            Term::Field(names) => write!(f, ".{}", names.join(".")),
            Term::Text(quoted, _) => f.write_str(quoted),
            Term::Parens(pipeline) => write!(f, "({pipeline})"),
            Term::Chain(operand, fields) => write!(f, "{operand}.{}", fields.join(".")),
            Term::Dot => f.write_str("."),
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, parts: &[impl fmt::Display], by: &str) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        write!(f, "{}{part}", if at == 0 { "" } else { by })?;
    }
    Ok(())
}
