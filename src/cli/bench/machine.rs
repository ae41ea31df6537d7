//! Where and when a benchmark ran.

use std::time::SystemTime;

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
    let mut now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.truncate("2025-01-31".len());
    now
}
