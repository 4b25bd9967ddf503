//! The program tells its settings, and keeps its secrets.

use std::path::Path;

#[test]
fn help_names_every_setting_and_shows_no_secret() {
    let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help.txt");
    testkit::help::says_what_is_written(
        env!("CARGO_BIN_EXE_billing"),
        &["BILLING_DATABASE_URL", "PROVIDER_WEBHOOK_SECRET"],
        &written,
    );
}
