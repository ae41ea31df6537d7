//! Where and when a benchmark ran.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// What numbers about speed depend on.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    /// Processor model.
    pub(super) cpu: String,
    /// Operating system and architecture.
    pub(super) system: String,
    /// Threads that this process can use.
    pub(super) cores: usize,
}

impl Machine {
    /// This machine.
    pub(super) fn this() -> Self {
        Self {
            cpu: cpu_name().unwrap_or_else(|| "unknown processor".into()),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// The processor's name where the system tells it in a file.
fn cpu_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}

/// Today's date (UTC) as `2025-01-31`.
pub(super) fn today() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    date(since.as_secs() / 86_400)
}

/// The date that lies `days` after 1970-01-01.
fn date(days: u64) -> String {
    // Years counted from 1 March 0000, in eras of 400 years of 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + carry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (days, text) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_453, "2025-12-31"),
        ] {
            assert_eq!(date(days), text);
        }
    }
}
