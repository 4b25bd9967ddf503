//! Starts the billing service: settings, telemetry, run.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let config = billing::config::Config::parse();
    service::metrics::init();
    let traces = config.common.traces.clone();
    service::telemetry::run("billing", &traces, billing::run(config)).await
}
