//! `larder-policy [--seeds N] [FILE ...]`: the table for the traces that are made, or for recorded ones.

use std::error::Error;
use std::io::Write;

use larder_policy::report::section;
use larder_policy::trace::{Trace, parse, shapes};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut seeds, mut files) = (3, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--seeds" {
            seeds = arguments.next().ok_or("--seeds wants a number")?.parse()?;
        } else {
            files.push(argument);
        }
    }
    let mut out = String::new();
    for file in &files {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        section(&[parse(file, &text)?], &mut out)?;
    }
    // Seeds other than those that constants were chosen on.
    for shape in shapes().iter().filter(|_| files.is_empty()) {
        let traces: Vec<Trace> = (11..11 + seeds).map(|seed| shape.make(seed)).collect();
        section(&traces, &mut out)?;
    }
    std::io::stdout().lock().write_all(out.as_bytes())?;
    Ok(())
}
