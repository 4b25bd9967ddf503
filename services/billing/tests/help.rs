//! The program tells its settings, and keeps its secrets.

use std::process::Command;

#[test]
fn help_names_every_setting_and_shows_no_secret() {
    let secret = "scheme://user:canary@host/database";
    let mut program = Command::new(env!("CARGO_BIN_EXE_billing"));
    let program = program.arg("--help").env("BILLING_DATABASE_URL", secret);
    let help = program.env("PROVIDER_WEBHOOK_SECRET", "whsec_canary").output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success(), "{text}");
    for setting in [
        "HTTP_ADDR",
        "BILLING_DATABASE_URL",
        "KAFKA_BROKERS",
        "TOPIC_PREFIX",
        "TOKEN_PUBLIC_KEY_FILE",
        "WORK_TIMEOUT_S",
        "PROVIDER_URL",
        "PROVIDER_WEBHOOK_SECRET",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_TRACES_SAMPLER_ARG",
    ] {
        assert!(text.contains(setting), "{setting} is missing in: {text}");
    }
    assert!(!text.contains("canary"), "{text}");
}
