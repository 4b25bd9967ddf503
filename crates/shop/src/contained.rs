//! Each command for a shop in containers.

use std::{path::Path, process::ExitCode};

use servers::{Home, Server, fetch};
use shop::{
    ShopError,
    containers::{self, Contained, DockerError, Start, Wanted},
};
use tokio::select;

use crate::{
    INTERRUPTED, NO_AUDIT,
    args::{Ask, UpArgs},
    stop_signal,
};

/// Does `ask`: stores are reached by nobody but the containers, so most of it is done by our program in one of its own.
pub(crate) async fn be_asked(shop: &Contained, folder: &Path, ask: Ask) -> anyhow::Result<ExitCode> {
    match ask {
        Ask::Down => {
            shop.down(folder).await?;
            println!("The shop is stopped.");
        }
        Ask::Status => println!("{}", shop.status().await?),
        Ask::Logs { name, follow } => return Err(shop.logs(name.as_deref(), follow).await.into()),
        Ask::Audit => return Ok(ExitCode::from(shop.audit().await?.unwrap_or(NO_AUDIT))),
        Ask::Token(_) | Ask::Load(_) | Ask::Demo | Ask::Sagas(_) | Ask::Dead(_) | Ask::Republish(_) | Ask::Rebuild => {
            return Err(shop.run(std::env::args_os().skip(1)).into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a new shop runs in containers. It runs where it was asked for; else natively if this machine has what that takes, else in containers if an
/// engine answers.
pub(crate) async fn is_wanted(args: &UpArgs) -> bool {
    // What runs in the background is a child process.
    if args.docker || args.native || args.in_background {
        return args.docker;
    }
    let Err(missing) = fetch::require_needs(&Home::of_this_user(), &Server::ALL) else {
        eprintln!("The shop runs as child processes; --docker has it run in containers.");
        return false;
    };
    let engine = containers::require_engine().await.is_ok();
    if engine {
        eprintln!("The shop runs in containers, because {missing}.");
    }
    engine
}

/// Brings the shop up.
pub(crate) async fn up(folder: &Path, args: &UpArgs) -> anyhow::Result<ExitCode> {
    let only_native = [("--replicas", args.replicas > 1), ("--bin-dir", args.bin_dir.is_some())];
    if let Some((flag, _)) = only_native.into_iter().find(|(_, given)| *given) {
        return Err(ShopError::from(DockerError::OnlyNative { flag }).into());
    }
    let wanted = Wanted { fresh: args.fresh, port_base: args.port_base };
    let start = select! {
        start = Start::prepare(folder, wanted) => start?,
        () = stop_signal() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    select! {
        started = start.run(folder) => started?,
        () = stop_signal() => {
            eprintln!("Stopping.");
            start.undo(folder).await?;
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    let shop = start.up();
    println!("{}", shop.urls());
    if args.detach {
        println!("The shop is up, in containers. `cargo shop down` stops it.");
        return Ok(ExitCode::SUCCESS);
    }
    println!("The shop is up, in containers. Ctrl-C stops everything.");
    stop_signal().await;
    eprintln!("Stopping.");
    shop.down(folder).await?;
    Ok(ExitCode::SUCCESS)
}
