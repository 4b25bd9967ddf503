//! Starts the order service: settings, telemetry, run.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let config = order::config::Config::parse();
    service::metrics::init();
    let traces = config.common.traces.clone();
    service::telemetry::run("order", &traces, order::run(config)).await
}
