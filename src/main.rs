//! Parses, runs the subcommand, and prints what went wrong once.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use larder::agent::cli::{Cli, Command};
use larder::agent::{report, steps};

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::Report::new().line(format_args!("Error: {}", steps::chain(&*error)));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn std::error::Error>> {
    if let Ok(filter) = std::env::var("LARDER_LOG")
        && !command.is_daemon()
    {
        larder::telemetry::init(Some(&filter), "", false)?;
    }
    match command {
        Command::SaveCache(typed) => Ok(steps::save_cache(&typed)?),
        Command::RestoreCache(typed) => Ok(steps::restore_cache(&typed)?),
        Command::Flush(typed) => Ok(steps::flush(&typed)?),
        Command::Status(typed) => Ok(steps::status(&typed)?),
        #[cfg(feature = "daemon")]
        Command::Serve(typed) => daemon::serve(typed),
        #[cfg(feature = "daemon")]
        Command::Try(typed) => Ok(larder::trial::run(&typed.path, typed.keep)?),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "larder", &mut std::io::stdout());
            Ok(())
        }
    }
}

#[cfg(feature = "daemon")]
mod daemon {
    use larder::agent::cli::Serve;
    use larder::config::{Typed, resolve};
    use larder::paths::Paths;
    use larder::{daemon, telemetry};

    pub(super) fn serve(typed: Serve) -> Result<(), Box<dyn std::error::Error>> {
        let Serve { config, listen, socket, data, max_size, min_free, backend, log_json } = typed;
        let env = |name: &str| std::env::var(name).ok();
        telemetry::init(env("LARDER_LOG").as_deref(), "larder=info,warn", log_json)?;
        let typed = Typed { config, listen, socket, data, max_size, min_free, backend };
        let read = |path: &std::path::Path| fs_err::read_to_string(path);
        let config = resolve(&typed, &env, &read, &Paths::of_process())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        Ok(runtime.block_on(daemon::run(&config))?)
    }
}
