//! From nodes to text.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::parse::{Action, Command, Operand};

/// What Go's templates print for a map's missing entry.
const NO_VALUE: &str = "<no value>";

/// Where the values come from.
pub trait Values {
    /// `.Branch`, `.Revision`, `.BuildNum`, `.CheckoutKey`; nothing for a name that CircleCI does not have.
    fn field(&self, name: &str) -> Option<String>;
    /// `.Environment.NAME`
    fn environment(&self, name: &str) -> Option<String>;
    /// The path as it is opened (absolute, `~/` expanded), and the file's bytes fed to `take`.
    fn read(&self, path: &str, take: &mut dyn FnMut(&[u8])) -> (String, io::Result<()>);
    /// Seconds since 1970.
    fn epoch(&self) -> i64;
    /// What `/proc/cpuinfo` says, where there is one.
    fn cpu_info(&self) -> String;
}

pub(super) fn action(action: &Action, values: &dyn Values) -> Result<String, String> {
    let mut piped = None;
    for command in &action.commands {
        piped = Some(run(command, piped, values)?);
    }
    Ok(piped.unwrap_or_default())
}

fn run(command: &Command, piped: Option<String>, values: &dyn Values) -> Result<String, String> {
    let [first, rest @ ..] = command.operands.as_slice() else { return Ok(String::new()) };
    let fault = |what: String| {
        let Command { place, text, .. } = command;
        format!("{place}: executing \"cacheKey\" at <{text}>: {what}")
    };
    let mut arguments = Vec::new();
    for operand in rest {
        arguments.push(value(operand, values).map_err(|what| what.unwrap_or_else(&fault))?);
    }
    arguments.extend(piped);
    if let Operand::Function(name) = first {
        return call(name, &arguments, values).map_err(|error| match error {
            CallError::Unknown => format!("{}: function {name:?} not defined", line(command)),
            CallError::Failed(what) => fault(what),
        });
    }
    if !arguments.is_empty() {
        return Err(fault(format!("can't give argument to non-function {}", command.text)));
    }
    value(first, values).map_err(|what| what.unwrap_or_else(fault))
}

fn line(command: &Command) -> String {
    let place = command.place.to_string();
    place.split(':').next().unwrap_or_default().to_owned()
}

/// The inner result says whether the message is complete already, or lacks its place.
fn value(operand: &Operand, values: &dyn Values) -> Result<String, Result<String, String>> {
    match operand {
        Operand::Text(text) => Ok(text.clone()),
        Operand::Group(group) => action(group, values).map_err(Ok),
        Operand::Field(name) => field(name, values).map_err(Err),
        Operand::Function(name) => call(name, &[], values).map_err(|error| match error {
            CallError::Unknown => Err(format!("function {name:?} not defined")),
            CallError::Failed(what) => Err(what),
        }),
    }
}

fn field(name: &str, values: &dyn Values) -> Result<String, String> {
    if let Some(variable) = name.strip_prefix("Environment.") {
        if variable.contains('.') {
            return Err(format!("can't evaluate field of a variable in .{name}"));
        }
        return Ok(values.environment(variable).unwrap_or_else(|| NO_VALUE.to_owned()));
    }
    values.field(name).ok_or_else(|| {
        format!(".{name} is not known; there are .Branch, .BuildNum, .Revision, .CheckoutKey and .Environment.NAME")
    })
}

enum CallError {
    Unknown,
    Failed(String),
}

fn call(name: &str, arguments: &[String], values: &dyn Values) -> Result<String, CallError> {
    let wanted = match name {
        "checksum" => 1,
        "epoch" | "arch" | "os_arch" => 0,
        _ => return Err(CallError::Unknown),
    };
    if arguments.len() != wanted {
        let got = arguments.len();
        let what = format!("wrong number of args for {name}: want {wanted} got {got}");
        return Err(CallError::Failed(what));
    }
    match name {
        "checksum" => checksum(&arguments[0], values).map_err(CallError::Failed),
        "epoch" => Ok(values.epoch().to_string()),
        "arch" => Ok(arch(&values.cpu_info())),
        _ => Ok(os_arch()),
    }
}

/// Base64 of SHA-256, with `_` in the place of `/`: CircleCI's own spelling, which is not the URL-safe
/// one.
fn checksum(path: &str, values: &dyn Values) -> Result<String, String> {
    let mut hasher = Sha256::new();
    let (opened, read) = values.read(path, &mut |bytes| hasher.update(bytes));
    match read {
        Ok(()) => Ok(STANDARD.encode(hasher.finalize()).replace('/', "_")),
        Err(error) => Err(format!("error calling checksum: open {opened}: {}", reason(&error))),
    }
}

/// As Go words them.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// `linux-amd64`: system and architecture in Go's words.
pub fn os_arch() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    let os = if std::env::consts::OS == "macos" { "darwin" } else { std::env::consts::OS };
    format!("{os}-{arch}")
}

/// `arch1-linux-amd64-6_85`, as CircleCI has it: with the processor's family and model. Processors that
/// have none (ARM) get `implementer_part`, so that unlike ones do not share what was built for one.
pub fn arch(cpu_info: &str) -> String {
    let number = |name: &str| {
        cpu_info.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    let (first, second) = match (number("cpu family"), number("model")) {
        (Some(family), Some(model)) => (family, model),
        _ => {
            (number("CPU implementer").unwrap_or_default(), number("CPU part").unwrap_or_default())
        }
    };
    if first.is_empty() && second.is_empty() {
        return format!("arch1-{}", os_arch());
    }
    format!("arch1-{}-{first}_{second}", os_arch())
}
