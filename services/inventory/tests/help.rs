//! The program tells its settings, and keeps its secrets.

use std::process::Command;

#[test]
fn help_names_every_setting_and_shows_no_secret() {
    let secret = "scheme://user:canary@host/database";
    let mut program = Command::new(env!("CARGO_BIN_EXE_inventory"));
    let help = program.arg("--help").env("INVENTORY_MONGODB_URL", secret).output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success(), "{text}");
    for setting in [
        "HTTP_ADDR",
        "INVENTORY_MONGODB_URL",
        "KAFKA_BROKERS",
        "TOPIC_PREFIX",
        "TOKEN_PUBLIC_KEY_FILE",
        "WORK_TIMEOUT_S",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_TRACES_SAMPLER_ARG",
    ] {
        assert!(text.contains(setting), "{setting} is missing in: {text}");
    }
    assert!(!text.contains("canary"), "{text}");
}
