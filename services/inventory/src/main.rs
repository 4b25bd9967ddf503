//! Reads the settings, starts telemetry, runs the service.

use std::process::ExitCode;

use clap::Parser;
use inventory::config::Config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    service::metrics::init();
    let traces = config.common.traces.clone();
    service::telemetry::run("inventory", &traces, inventory::run(config)).await
}
