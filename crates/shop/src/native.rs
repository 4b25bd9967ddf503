//! Each command for a shop whose parts are child processes.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use contracts::CustomerId;
use servers::{Home, Server, fetch};
use shop::{
    Options, Ports, Shop, ShopError, State, background, containers,
    dead::{self, Dead},
    demo, load, logs,
    process::Processes,
    programs, rebuild, republish, sagas, state, status, token, up as start,
};
use tokio::select;
use web::access::Principal;

use crate::{
    INTERRUPTED,
    args::{Ask, DeadCommand, LoadArgs, SagasCommand, TokenArgs, UpArgs, Whom},
    no_audit, stop_signal,
};

/// Services listen from this port + 1, if nothing else is asked for.
const PORT_BASE: u16 = 7000;

/// How long what an operator has begun may take.
const OPERATION: Duration = Duration::from_secs(3600);

/// Does `ask`.
pub(crate) async fn be_asked(folder: &Path, ask: Ask) -> anyhow::Result<ExitCode> {
    match ask {
        Ask::Down => match background::stop(folder).await {
            Ok(()) => println!("The shop is stopped."),
            Err(ShopError::NotRunning) => println!("The shop was not up."),
            Err(error) => return Err(error.into()),
        },
        Ask::Status => println!("{}", status::table(&State::read(folder)?, folder).await),
        Ask::Logs { name, follow } => logs::show(folder, name.as_deref(), follow)?,
        Ask::Token(args) => print_token(folder, &args)?,
        Ask::Load(args) => put_under_load(folder, &args).await?,
        Ask::Demo => {
            let report = demo::run(&State::read(folder)?, folder).await?;
            println!("{report}");
            return Ok(if report.is_as_promised() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Ask::Sagas(command) => {
            let (state, operator) = (State::read(folder)?, token::sign(folder, &Principal::Operator, OPERATION)?);
            match command {
                SagasCommand::List => println!("{}", sagas::parked(&state, &operator).await?),
                SagasCommand::Resume { saga } => {
                    sagas::resume(&state, &operator, saga).await?;
                    println!("Saga {saga} goes on.");
                }
            }
        }
        Ask::Audit => return Ok(audit(folder).await),
        Ask::Dead(command) => println!("{}", see_to_the_dead(folder, command).await?),
        Ask::Republish(args) => {
            let (state, operator) = (State::read(folder)?, token::sign(folder, &Principal::Operator, OPERATION)?);
            println!("{} messages are sent again.", republish::republish(&state, &args.into(), operator).await?);
        }
        Ask::Rebuild => {
            let (state, operator) = (State::read(folder)?, token::sign(folder, &Principal::Operator, OPERATION)?);
            let rebuilt = rebuild::rebuild(&state, operator).await?;
            println!("{rebuilt}");
            return Ok(if rebuilt.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Brings the shop up.
pub(crate) async fn up(folder: &Path, args: UpArgs) -> anyhow::Result<ExitCode> {
    // What is found out here is found out before the services are built; who starts looks once more.
    if !args.in_background {
        state::require_free(folder)?;
        if let Some(gone) = containers::require_none(folder).await? {
            eprintln!("The shop that was up in containers is not: {gone}");
        }
    }
    let bin_dir = match &args.bin_dir {
        Some(given) => std::path::absolute(given).context("the folder of the programs has no path")?,
        None => {
            let ours = programs::our_folder()?;
            programs::build(&ours)?;
            ours
        }
    };
    if args.fresh {
        start::remove_data(folder)?;
    }
    let code = if args.in_background {
        background::leave_terminal()?;
        in_foreground(options(bin_dir, &args)).await
    } else if args.detach {
        // What runs in the background is our child too, and is meant to stay.
        return in_background(folder, &bin_dir, &args).await;
    } else {
        in_foreground(options(bin_dir, &args)).await
    };
    wait_for_children().await;
    code
}

fn options(bin_dir: PathBuf, args: &UpArgs) -> Options {
    Options {
        ports: Ports::From(args.port_base.unwrap_or(PORT_BASE)),
        replicas: args.replicas,
        ..Options::of_this_user(bin_dir)
    }
}

/// Runs the shop until a signal comes.
async fn in_foreground(options: Options) -> anyhow::Result<ExitCode> {
    let shop = select! {
        shop = Shop::start(options) => shop?,
        () = stop_signal() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    println!("{}", status::urls(&shop.state()));
    println!("The shop is up. Ctrl-C stops everything.");
    stop_signal().await;
    eprintln!("Stopping.");
    // A second signal ends the wait; the guards stop what is left.
    select! {
        () = shop.stop() => Ok(ExitCode::SUCCESS),
        () = stop_signal() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// Starts a shop in the background and returns when it is ready.
async fn in_background(folder: &Path, bin_dir: &Path, args: &UpArgs) -> anyhow::Result<ExitCode> {
    // Here, because here is a terminal to show the progress on.
    fetch::fetch(&Home::of_this_user(), &Server::ALL).await.map_err(ShopError::from)?;
    let port_base = args.port_base.unwrap_or(PORT_BASE).to_string();
    let replicas = args.replicas.to_string();
    let bin_dir = bin_dir.display().to_string();
    let again = ["up", "--in-background", "--bin-dir", &bin_dir, "--port-base", &port_base, "--replicas", &replicas];
    let again = again.map(String::from);
    let state = select! {
        state = background::start(folder, &again) => state?,
        () = stop_signal() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    println!("{}", status::urls(&state));
    println!("The shop is up, in the background. `cargo shop down` stops it.");
    Ok(ExitCode::SUCCESS)
}

/// Waits until the guards have stopped whatever was dropped, so that nothing runs when we are gone.
async fn wait_for_children() {
    let deadline = Instant::now() + Duration::from_secs(60);
    let us = std::process::id();
    while Processes::now().tree(us).len() > 1 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn print_token(folder: &Path, args: &TokenArgs) -> anyhow::Result<()> {
    let principal = match args.whom() {
        Whom::Operator => Principal::Operator,
        Whom::Customer(id) => Principal::Customer(id),
        Whom::NewCustomer => {
            let id = CustomerId::mint();
            // Not on standard output, which shall hold the token alone.
            eprintln!("customer {id}");
            Principal::Customer(id)
        }
    };
    println!("{}", token::sign(folder, &principal, Duration::from_secs(args.ttl_minutes * 60))?);
    Ok(())
}

/// Not being able to look is another answer than having seen a violation.
async fn audit(folder: &Path) -> ExitCode {
    let report = match State::read(folder) {
        Ok(state) => state.audit().await,
        Err(error) => Err(error.into()),
    };
    match report {
        Ok(report) => {
            println!("{report}");
            ExitCode::from(report.verdict().exit_status())
        }
        Err(error) => no_audit(&error),
    }
}

async fn see_to_the_dead(folder: &Path, command: DeadCommand) -> anyhow::Result<String> {
    let dead = Dead::of(&State::read(folder)?.stores).await?;
    Ok(match command {
        DeadCommand::List => dead::table(&dead.list().await?),
        DeadCommand::Show(which) => {
            let mut shown = Vec::new();
            for parked in dead.find(&which.into()).await? {
                shown.push(dead::details(&parked, &dead.messages(&parked).await?));
            }
            shown.join("\n")
        }
        DeadCommand::Replay(which) => format!("Taken in: {} of what was parked.", dead.replay(&which.into()).await?),
        DeadCommand::Drop { which, all } => {
            let (parked, dropped) = dead.drop(&which.into(), all).await?;
            dead::after_drop(&parked, &dropped)
        }
    })
}

async fn put_under_load(folder: &Path, args: &LoadArgs) -> anyhow::Result<()> {
    let target = State::read(folder)?.load_target(folder)?;
    let load = load::Load {
        orders: args.orders,
        warm_up: args.warm_up,
        connections: args.connections,
        declined_percent: args.declined,
    };
    println!("{}", load::run(&target, &load).await?);
    Ok(())
}
