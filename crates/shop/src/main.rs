//! The `shop` command: settings, signals, exit codes. What it does is in the library.
//!
//! | module | holds |
//! |---|---|
//! | `args` | flags and sub-commands |
//! | `native` | each command for a shop whose parts are child processes |
//! | `contained` | each command for a shop in containers |

mod args;
mod contained;
mod native;

use std::{io::IsTerminal, path::Path, process::ExitCode};

use args::{Args, Ask, Command, ComposeCommand};
use clap::Parser;
use servers::{Home, Server, fetch};
use shop::{ShopError, compose, containers::Contained, state, topics};
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

/// The exit status of an audit that could not be made.
const NO_AUDIT: u8 = 3;

/// The exit status of a command that a signal has ended before it was done.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    let logs = tracing_subscriber::fmt().compact().with_target(false).with_env_filter(filter);
    logs.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).init();
    match run(Args::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            // Our own errors are whole sentences; others are told with their causes.
            match error.downcast_ref::<ShopError>() {
                Some(error) => eprintln!("{error}"),
                None => eprintln!("{error:#}"),
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let home = Home::of_this_user();
    let folder = home.path().join("shop");
    match command {
        Command::Up(args) if contained::is_wanted(&args).await => return contained::up(&folder, &args).await,
        Command::Up(args) => return native::up(&folder, args).await,
        Command::Ask(ask) => return be_asked(&folder, ask).await,
        Command::Topics => println!("{:#}", topics::asyncapi()),
        Command::Fetch => {
            fetch::fetch(&home, &Server::ALL).await.map_err(ShopError::from)?;
            println!("{}", home.servers().display());
        }
        Command::Compose(ComposeCommand::Secrets) => compose::make_secrets(home.path())?,
        Command::Compose(ComposeCommand::Prepare) => compose::prepare_stores(&folder).await?,
        Command::Compose(ComposeCommand::Seed) => compose::fill_catalogue(&folder).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Does what is asked of the shop that is up, where it runs.
async fn be_asked(folder: &Path, ask: Ask) -> anyhow::Result<ExitCode> {
    if state::supervisor(folder).is_some() {
        return native::be_asked(folder, ask).await;
    }
    let found = match Contained::find(folder).await {
        // Whoever brings one up in containers has not yet said where.
        Ok(None) => state::require_free(folder).map(|()| None),
        found => found,
    };
    match found {
        Ok(Some(shop)) => contained::be_asked(&shop, folder, ask).await,
        Ok(None) => native::be_asked(folder, ask).await,
        // An audit that cannot be made has a status of its own.
        Err(error) if matches!(ask, Ask::Audit) => Ok(no_audit(&error.into())),
        Err(error) => Err(error.into()),
    }
}

fn no_audit(error: &anyhow::Error) -> ExitCode {
    eprintln!("The books could not be looked at: {error:#}.");
    ExitCode::from(NO_AUDIT)
}

/// Ctrl-C, SIGTERM, or the terminal was closed.
async fn stop_signal() {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let mut signals = kinds.map(|kind| signal(kind).expect("these signals can be listened to"));
    let [interrupt, terminate, hangup] = &mut signals;
    select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
