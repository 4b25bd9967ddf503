//! Starts the billing service: settings, telemetry, run.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let config = billing::config::Config::parse();
    service::telemetry::init("billing");
    service::metrics::init();
    service::telemetry::ended(billing::run(config).await)
}
