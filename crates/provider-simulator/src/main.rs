//! Starts the simulator: settings, telemetry, run.

use std::process::ExitCode;

use clap::Parser;

// One thread is enough, and spares the waking of another for each call.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let config = provider_simulator::Config::parse();
    service::telemetry::init("provider-simulator");
    service::telemetry::ended(provider_simulator::run(config).await)
}
