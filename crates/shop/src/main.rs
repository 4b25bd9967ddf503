//! The `shop` command: settings, signals, exit codes. What it does is in the library.

mod args;

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use args::{Args, Command, ComposeCommand, DeadCommand, LoadArgs, SagasCommand, TokenArgs, UpArgs, Whom};
use clap::Parser;
use contracts::CustomerId;
use servers::{Home, Server, fetch};
use shop::{
    Options, Ports, Shop, ShopError, State, background, compose,
    containers::{self, Contained, DockerError, Wanted},
    dead::{self, Dead},
    demo, load, logs,
    process::Processes,
    programs, rebuild, republish, sagas, state, status, token, topics, up,
};
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;
use web::access::Principal;

/// The exit status of an audit that could not be made.
const NO_AUDIT: u8 = 3;

/// Services listen from this port + 1, if nothing else is asked for.
const PORT_BASE: u16 = 7000;

/// How long what an operator has begun may take.
const OPERATION: Duration = Duration::from_secs(3600);

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
    let folder = Home::of_this_user().path().join("shop");
    if let Some(code) = in_containers(&folder, &command).await? {
        return Ok(code);
    }
    match command {
        Command::Up(args) => return bring_up(&folder, args).await,
        Command::Down => match background::stop(&folder).await {
            Ok(()) => println!("The shop is stopped."),
            Err(ShopError::NotRunning) => println!("The shop was not up."),
            Err(error) => return Err(error.into()),
        },
        Command::Status => println!("{}", status::table(&State::read(&folder)?, &folder).await),
        Command::Logs { name, follow } => logs::show(&folder, name.as_deref(), follow)?,
        Command::Token(args) => print_token(&folder, &args)?,
        Command::Load(args) => put_under_load(&folder, &args).await?,
        Command::Demo => {
            let report = demo::run(&State::read(&folder)?, &folder).await?;
            println!("{report}");
            return Ok(if report.is_as_promised() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Sagas(command) => {
            let (state, operator) = (State::read(&folder)?, token::sign(&folder, &Principal::Operator, OPERATION)?);
            match command {
                SagasCommand::List => println!("{}", sagas::parked(&state, &operator).await?),
                SagasCommand::Resume { saga } => {
                    sagas::resume(&state, &operator, saga).await?;
                    println!("Saga {saga} goes on.");
                }
            }
        }
        Command::Audit => return Ok(audit(&folder).await),
        Command::Dead(command) => println!("{}", see_to_the_dead(&folder, command).await?),
        Command::Republish(args) => {
            let (state, operator) = (State::read(&folder)?, token::sign(&folder, &Principal::Operator, OPERATION)?);
            println!("{} messages are sent again.", republish::republish(&state, &args.into(), operator).await?);
        }
        Command::Rebuild => {
            let (state, operator) = (State::read(&folder)?, token::sign(&folder, &Principal::Operator, OPERATION)?);
            let rebuilt = rebuild::rebuild(&state, operator).await?;
            println!("{rebuilt}");
            return Ok(if rebuilt.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Topics => println!("{:#}", topics::asyncapi()),
        Command::Fetch => {
            fetch::fetch(&Home::of_this_user(), &Server::ALL).await.map_err(ShopError::from)?;
            println!("{}", Home::of_this_user().servers().display());
        }
        Command::Compose(command) => run_in_container(Home::of_this_user().path(), command).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Does `command` if it is for a shop in containers: the one that is up, or that it brings up.
async fn in_containers(folder: &Path, command: &Command) -> anyhow::Result<Option<ExitCode>> {
    if let Command::Up(args) = command {
        return up_in_containers(folder, args).await;
    }
    if !command.asks_a_shop() || state::supervisor(folder).is_some() {
        return Ok(None);
    }
    let shop = match Contained::find(folder).await {
        Ok(Some(shop)) => shop,
        Ok(None) => return Ok(None),
        // An audit that cannot be made has a status of its own.
        Err(error) if matches!(command, Command::Audit) => return Ok(Some(no_audit(&error.into()))),
        Err(error) => return Err(error.into()),
    };
    if let Command::Logs { name, follow } = command {
        return Err(shop.logs(name.as_deref(), *follow).await.into());
    } else if matches!(command, Command::Status) {
        println!("{}", shop.status().await?);
    } else if matches!(command, Command::Audit) {
        return Ok(Some(ExitCode::from(shop.audit().await?.unwrap_or(NO_AUDIT))));
    } else if matches!(command, Command::Down) {
        shop.down(folder).await?;
        println!("The shop is stopped.");
    } else {
        return Err(shop.run(std::env::args_os().skip(1)).into());
    }
    Ok(Some(ExitCode::SUCCESS))
}

/// Brings the shop up in containers, if that is where it shall run.
async fn up_in_containers(folder: &Path, args: &UpArgs) -> anyhow::Result<Option<ExitCode>> {
    if args.in_background {
        return Ok(None);
    }
    if wants_containers(args).await {
        return bring_up_containers(folder, args).await.map(Some);
    }
    if state::supervisor(folder).is_some() {
        return Ok(None);
    }
    match Contained::find(folder).await {
        // Which of both is up would not be known.
        Ok(Some(_)) => Err(ShopError::from(DockerError::Running).into()),
        Ok(None) => Ok(None),
        // Without its engine nothing of it can run.
        Err(ShopError::Docker(gone @ (DockerError::NoEngine { .. } | DockerError::Missing))) => {
            eprintln!("The shop that was up in containers is not: {gone}");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Where the shop runs: where it was asked for; else natively if this machine has what that takes, else in containers if an
/// engine answers.
async fn wants_containers(args: &UpArgs) -> bool {
    if args.docker || args.native {
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

async fn bring_up_containers(folder: &Path, args: &UpArgs) -> anyhow::Result<ExitCode> {
    let only_native = [("--replicas", args.replicas > 1), ("--bin-dir", args.bin_dir.is_some())];
    if let Some((flag, _)) = only_native.into_iter().find(|(_, given)| *given) {
        return Err(ShopError::from(DockerError::OnlyNative { flag }).into());
    }
    let wanted = Wanted { fresh: args.fresh, port_base: args.port_base };
    let shop = select! {
        shop = Contained::prepare(folder, wanted) => shop?,
        () = stop_signal() => return Ok(ExitCode::from(130)),
    };
    select! {
        started = shop.start(folder) => started?,
        () = stop_signal() => {
            eprintln!("Stopping.");
            shop.down(folder).await?;
            return Ok(ExitCode::from(130));
        }
    }
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

async fn bring_up(folder: &Path, args: UpArgs) -> anyhow::Result<ExitCode> {
    if let (Some(pid), false) = (state::supervisor(folder), args.in_background) {
        return Err(ShopError::Running { pid }.into());
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
        up::remove_data(folder)?;
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

async fn run_in_container(home: &Path, command: ComposeCommand) -> Result<(), ShopError> {
    match command {
        ComposeCommand::Secrets => compose::make_secrets(home),
        ComposeCommand::Prepare => compose::prepare_stores(&home.join("shop")).await,
        ComposeCommand::Seed => compose::fill_catalogue(&home.join("shop")).await,
    }
}

/// Runs the shop until a signal comes.
async fn in_foreground(options: Options) -> anyhow::Result<ExitCode> {
    let shop = select! {
        shop = Shop::start(options) => shop?,
        () = stop_signal() => return Ok(ExitCode::from(130)),
    };
    println!("{}", status::urls(&shop.state()));
    println!("The shop is up. Ctrl-C stops everything.");
    stop_signal().await;
    eprintln!("Stopping.");
    // A second signal ends the wait; the guards stop what is left.
    select! {
        () = shop.stop() => Ok(ExitCode::SUCCESS),
        () = stop_signal() => Ok(ExitCode::from(130)),
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
        () = stop_signal() => return Ok(ExitCode::from(130)),
    };
    println!("{}", status::urls(&state));
    println!("The shop is up, in the background. `cargo shop down` stops it.");
    Ok(ExitCode::SUCCESS)
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

fn no_audit(error: &anyhow::Error) -> ExitCode {
    eprintln!("The books could not be looked at: {error:#}.");
    ExitCode::from(NO_AUDIT)
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
