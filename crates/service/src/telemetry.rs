//! Where logs go and what they look like: one line per event to standard output. Where spans go, see
//! [`traces`](crate::traces).
//!
//! `RUST_LOG` says what is logged (default: [`DEFAULT_FILTER`]), `LOG_FORMAT` how: `text` (default, coloured on a
//! terminal only) or `json`.

use std::{env, io, io::IsTerminal, process::ExitCode};

use tracing::{error, info, warn};
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::traces::Traces;

/// What is logged unless `RUST_LOG` says otherwise: us from `info` on, libraries that chat from `warn` on.
pub const DEFAULT_FILTER: &str = "info,sqlx=warn,librdkafka=warn,rdkafka=warn,hyper=warn";

/// Does what a process is for, between the beginning and the end of its telemetry, and says in one line why it ends, if it
/// must: what supervises it shows its last complaint.
pub async fn run(service: &'static str, traces: &Traces, work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    init(service);
    let sending = traces.export(service);
    let code = ended(work.await);
    if let Some(sending) = sending {
        sending.end().await;
    }
    code
}

/// Starts logging for the process of `service`. A second call changes nothing, so tests may call it freely.
///
/// A setting that cannot be read is not worth a dead service: it is replaced by its default, and a warning says so.
fn init(service: &'static str) {
    let (filter, bad_filter) = filter(env::var("RUST_LOG").ok().as_deref());
    let (format, bad_format) = format(env::var("LOG_FORMAT").ok().as_deref());
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        Format::Text => registry.with(fmt::layer().compact().with_ansi(io::stdout().is_terminal())).try_init().is_ok(),
        Format::Json => registry.with(fmt::layer().json().flatten_event(true)).try_init().is_ok(),
    };
    if !started {
        return;
    }
    info!(service.name = service, "The service starts.");
    for complaint in [bad_filter, bad_format].into_iter().flatten() {
        warn!("{complaint}");
    }
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("The service ends: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// The filter to use, and what is wrong with the text if it could not be read. Empty text is no text.
fn filter(text: Option<&str>) -> (EnvFilter, Option<String>) {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        return (EnvFilter::new(DEFAULT_FILTER), None);
    };
    match EnvFilter::try_new(text) {
        Ok(filter) => (filter, None),
        Err(error) => {
            let complaint = format!("RUST_LOG cannot be read and is ignored: {error}.");
            (EnvFilter::new(DEFAULT_FILTER), Some(complaint))
        }
    }
}

/// The format to use, and what is wrong with the text if it could not be read.
fn format(text: Option<&str>) -> (Format, Option<String>) {
    match text.map(str::trim) {
        None | Some("" | "text") => (Format::Text, None),
        Some("json") => (Format::Json, None),
        Some(_) => (Format::Text, Some("LOG_FORMAT is neither text nor json and is ignored.".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_cannot_be_read_is_replaced_and_reported() {
        let shown = |text| {
            let (filter, complaint) = filter(text);
            (filter.to_string(), complaint.is_some())
        };
        let (default, _) = shown(None);
        assert!(default.contains("rdkafka=warn") && default.contains("info"), "{default}");
        assert_eq!(shown(Some(" ")), (default.clone(), false));
        assert_eq!(shown(Some("debug")), ("debug".to_owned(), false));
        assert_eq!(shown(Some("sqlx=loud")), (default, true));
    }

    #[test]
    fn the_format_is_text_unless_json_is_asked_for() {
        assert_eq!(format(None), (Format::Text, None));
        assert_eq!(format(Some("json")), (Format::Json, None));
        let (fallback, complaint) = format(Some("xml"));
        assert_eq!(fallback, Format::Text);
        assert!(complaint.is_some());
    }

    #[test]
    fn starting_twice_is_harmless() {
        init("first");
        init("second");
    }
}
