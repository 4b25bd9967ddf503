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
        "CONNECTIONS_MAX",
        "HEADER_TIMEOUT_MS",
    ] {
        assert!(text.contains(setting), "{setting} is missing in: {text}");
    }
    assert!(!text.contains("canary"), "{text}");
}
