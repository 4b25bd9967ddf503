//! Starts the simulator: settings, telemetry, run.

use std::process::ExitCode;

use clap::Parser;
use service::traces::Traces;

// One thread is enough, and spares the waking of another for each call.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let config = provider_simulator::Config::parse();
    // The payment provider is somebody else's: it knows nothing of our traces.
    service::telemetry::run("provider-simulator", &Traces::default(), provider_simulator::run(config)).await
}
