//! A tree to text.

use std::cell::Cell;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::parse::{Command, Function, Operand, Part, Pipeline, Template, Term, line_of};
use super::{Context, Error, base64_of_digest};
use crate::agent::locate;

impl Template {
    /// Computes the text.
    pub fn render(&self, context: &Context<'_>) -> Result<String, Error> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Action(pipeline) => {
                    let at = Cell::new(Node::Pipeline(pipeline));
                    text.push_str(&Run { source: &self.source, context, at }.printed(pipeline)?);
                }
            }
        }
        Ok(text)
    }
}

/// What an expression gives.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    /// A variable that is not set; prints as `<no value>`, as Go has it.
    Missing,
    /// `.Environment` as a whole.
    Environment,
    /// `.` as a whole.
    Dot,
}

impl Value {
    /// Its type in Go, for errors.
    fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Missing | Self::Environment => "map[string]string",
            Self::Dot => "cache.TemplateValues",
        }
    }
}

/// One rendering under way.
struct Run<'a> {
    source: &'a str,
    context: &'a Context<'a>,
    /// What was looked at last: Go blames that for whatever goes wrong next.
    at: Cell<Node<'a>>,
}

#[derive(Clone, Copy)]
enum Node<'a> {
    Pipeline(&'a Pipeline),
    Command(&'a Command),
    Operand(&'a Operand),
}

impl<'a> Run<'a> {
    fn printed(&self, pipeline: &'a Pipeline) -> Result<String, Error> {
        match self.pipeline(pipeline)? {
            Value::Text(text) => Ok(text),
            Value::Missing => Ok("<no value>".to_owned()),
            // A whole environment in a key would never match again, and would tell secrets.
            Value::Environment | Value::Dot => Err(self.error(
                "Larder does not print a whole environment: name a variable, as in \
                 `.Environment.NAME`",
            )),
        }
    }

    fn pipeline(&self, pipeline: &'a Pipeline) -> Result<Value, Error> {
        self.at.set(Node::Pipeline(pipeline));
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, value)?);
        }
        Ok(value.expect("the parser makes no empty pipeline"))
    }

    fn command(&self, command: &'a Command, piped: Option<Value>) -> Result<Value, Error> {
        let (first, arguments) =
            command.operands.split_first().expect("the parser makes no empty command");
        let has_arguments = !arguments.is_empty() || piped.is_some();
        match &first.term {
            Term::Function(..) => self.call(first, arguments, piped, Node::Command(command)),
            Term::Field(names) => {
                self.at.set(Node::Operand(first));
                self.fields(Value::Dot, names, has_arguments)
            }
            Term::Chain(inner, names) => {
                self.at.set(Node::Operand(first));
                self.fields(self.operand(inner)?, names, has_arguments)
            }
            Term::Parens(pipeline) if has_arguments => {
                Err(self.error(&format!("can't give argument to non-function {pipeline}")))
            }
            Term::Parens(pipeline) => self.pipeline(pipeline),
            Term::Text(..) | Term::Dot if has_arguments => {
                self.at.set(Node::Operand(first));
                Err(self.error(&format!("can't give argument to non-function {first}")))
            }
            Term::Text(..) | Term::Dot => self.operand(first),
        }
    }

    /// An operand as an argument, where functions are called without any.
    fn operand(&self, operand: &'a Operand) -> Result<Value, Error> {
        self.at.set(Node::Operand(operand));
        match &operand.term {
            Term::Function(..) => self.call(operand, &[], None, Node::Operand(operand)),
            Term::Field(names) => self.fields(Value::Dot, names, false),
            Term::Text(_, text) => Ok(Value::Text(text.clone())),
            Term::Parens(pipeline) => self.pipeline(pipeline),
            Term::Chain(inner, names) => self.fields(self.operand(inner)?, names, false),
            Term::Dot => Ok(Value::Dot),
        }
    }

    fn fields(&self, from: Value, names: &[String], has_arguments: bool) -> Result<Value, Error> {
        let mut value = from;
        for (at, name) in names.iter().enumerate() {
            let called = has_arguments && at + 1 == names.len();
            value = self.field(&value, name, called).map_err(|reason| self.error(&reason))?;
        }
        Ok(value)
    }

    fn field(&self, of: &Value, name: &str, called: bool) -> Result<Value, String> {
        let found = match (of, name) {
            (Value::Missing, _) => return Ok(Value::Missing),
            (Value::Environment, _) if called => {
                return Err(format!("{name} is not a method but has arguments"));
            }
            (Value::Environment, _) => {
                let variable = (self.context.environment)(name);
                return Ok(variable.map_or(Value::Missing, Value::Text));
            }
            (Value::Dot, "Environment") => Value::Environment,
            (Value::Dot, "Branch") => Value::Text(self.context.branch.to_owned()),
            (Value::Dot, "Revision") => Value::Text(self.context.revision.to_owned()),
            (Value::Dot, "BuildNum") => Value::Text(self.context.build_num.to_owned()),
            (Value::Dot, "CheckoutKey") => Value::Text(self.context.checkout_key.to_owned()),
            _ => return Err(format!("can't evaluate field {name} in type {}", of.type_name())),
        };
        if called {
            return Err(format!("{name} has arguments but cannot be invoked as function"));
        }
        Ok(found)
    }

    /// Calls the function that `function` names. What fails inside it is blamed on `whole`.
    fn call(
        &self,
        function: &'a Operand,
        arguments: &'a [Operand],
        piped: Option<Value>,
        whole: Node<'a>,
    ) -> Result<Value, Error> {
        self.at.set(Node::Operand(function));
        let Term::Function(function) = &function.term else {
            unreachable!("only functions are called");
        };
        let (wanted, got) = (function.arguments(), arguments.len() + usize::from(piped.is_some()));
        if got != wanted {
            let name = function.name();
            return Err(
                self.error(&format!("wrong number of args for {name}: want {wanted} got {got}"))
            );
        }
        let argument = match arguments.first() {
            Some(argument) => Some(self.operand(argument)?),
            None => piped,
        };
        let argument = argument.map(text_or_reason).transpose();
        let argument = argument.map_err(|reason| self.error(&reason))?.unwrap_or_default();
        Ok(Value::Text(match function {
            Function::Checksum => checksum(&argument, self.context).map_err(|reason| {
                self.at.set(whole);
                self.error(&format!("error calling checksum: {reason}"))
            })?,
            Function::Epoch => self.context.epoch_secs.to_string(),
            Function::Arch => self.context.arch.to_owned(),
            Function::OsArch => self.context.os_arch.to_owned(),
        }))
    }

    fn error(&self, reason: &str) -> Error {
        let (at, text) = match self.at.get() {
            Node::Pipeline(pipeline) => (pipeline.at, pipeline.to_string()),
            Node::Command(command) => (command.at, command.to_string()),
            Node::Operand(operand) => (operand.at, operand.to_string()),
        };
        let line_start = self.source[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let (line, column) = (line_of(self.source, at), at - line_start);
        Error::Execute { line, column, at: text, reason: reason.to_owned() }
    }
}

fn text_or_reason(value: Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Missing => Err("invalid value; expected string".to_owned()),
        other => Err(format!("wrong type for value; expected string; got {}", other.type_name())),
    }
}

/// The digest of a file's bytes; the error is Go's.
fn checksum(path: &str, context: &Context<'_>) -> Result<String, String> {
    let path = locate::absolute(Path::new(path), context.working_dir, context.home);
    let failed = |verb: &str, cause: &io::Error| {
        format!("{verb} {}: {}", path.display(), system_reason(cause))
    };
    let mut file = (context.open)(&path).map_err(|cause| failed("open", &cause))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(base64_of_digest(&hasher.finalize().into())),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(failed("read", &cause)),
        }
    }
}

/// The system's reason as Go prints it: in lower case and without its number.
pub(super) fn system_reason(cause: &io::Error) -> String {
    let text = cause.to_string();
    let text = text.rsplit_once(" (os error ").map_or(text.as_str(), |(reason, _)| reason);
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}
