//! The program tells its settings, and keeps its secrets.

use std::process::Command;

#[test]
fn help_names_every_setting_and_shows_no_secret() {
    let secret = "scheme://user:canary@host/database";
    let mut program = Command::new(env!("CARGO_BIN_EXE_order"));
    let help = program.arg("--help").env("ORDER_DATABASE_URL", secret).output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success(), "{text}");
    for setting in [
        "HTTP_ADDR",
        "ORDER_DATABASE_URL",
        "KAFKA_BROKERS",
        "TOPIC_PREFIX",
        "TOKEN_PUBLIC_KEY_FILE",
        "OPEN_SAGAS_MAX",
        "WORK_TIMEOUT_S",
        "CONNECTIONS_MAX",
        "HEADER_TIMEOUT_MS",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_TRACES_SAMPLER_ARG",
    ] {
        assert!(text.contains(setting), "{setting} is missing in: {text}");
    }
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn a_collector_that_cannot_be_is_told_at_the_start() {
    for (setting, wrong, told) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318", "a collector is named as http://host:port"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "a collector is named as http://host:port"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5", "a ratio is a number from 0 to 1"),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_order"));
        let program = program.env("ORDER_DATABASE_URL", "postgres://nowhere/x").env("KAFKA_BROKERS", "nowhere:1");
        let ended = program.env("TOKEN_PUBLIC_KEY_FILE", "none").env(setting, wrong).output().unwrap();
        let text = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success() && text.contains(wrong) && text.contains(told), "{text}");
    }
}
