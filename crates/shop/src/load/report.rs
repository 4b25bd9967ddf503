//! What a load has shown.
#![expect(clippy::float_arithmetic, reason = "figures for people, not money")]

use std::{fmt, time::Duration};

use comfy_table::{Table, presets};

use super::{Cost, Load, Tally, Usage};

/// What a load has shown.
#[derive(Debug, Clone)]
pub struct Report {
    connections: u64,
    confirmed: u64,
    cancelled: u64,
    came_again: u64,
    took: Duration,
    p50: Duration,
    p99: Duration,
    cost: Usage,
}

impl Report {
    pub(super) fn new(load: &Load, tally: &Tally, took: Duration, cost: Usage) -> Self {
        Self {
            connections: load.connections,
            confirmed: tally.confirmed,
            cancelled: tally.cancelled,
            came_again: tally.came_again,
            took,
            p50: tally.percentile(50.0),
            p99: tally.percentile(99.0),
            cost,
        }
    }

    /// Orders that ended, one way or the other.
    pub fn settled(&self) -> u64 {
        self.confirmed + self.cancelled
    }

    /// Half of the orders took at most this.
    pub fn p50(&self) -> Duration {
        self.p50
    }
}

fn per(total: Duration, orders: u64) -> Duration {
    total / u32::try_from(orders.max(1)).unwrap_or(u32::MAX)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, confirmed, cancelled, took, p50, p99, .. } = self;
        let settled = self.settled();
        let rate = settled as f64 / took.as_secs_f64();
        writeln!(f, "{settled} orders settled in {:.1} s by {connections} customers: {rate:.0}/s", took.as_secs_f64())?;
        writeln!(f, "{confirmed} confirmed, {cancelled} cancelled; p50 {}, p99 {}", ms(*p50), ms(*p99))?;
        if self.came_again > 0 {
            writeln!(f, "{} times there was no room, and a customer came again later", self.came_again)?;
        }
        if self.cost.each().next().is_none() {
            return write!(f, "CPU times are not known: the processes are in containers of their own.");
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["CPU per order", "user", "system", "both"]);
        for (name, cost) in self.cost.each().chain([("all but the generator", self.cost.total())]) {
            let Cost { user, system } = cost;
            table.add_row([
                name.to_owned(),
                us(per(user, settled)),
                us(per(system, settled)),
                us(per(cost.sum(), settled)),
            ]);
        }
        write!(f, "{table}")
    }
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

fn us(duration: Duration) -> String {
    format!("{} us", duration.as_micros())
}
