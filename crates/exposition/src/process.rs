//! What the kernel says of this process.

use std::fs;

use crate::text::{Kind, Text};

/// The families of a process; those of which the kernel says nothing are left out.
pub fn process() -> String {
    let mut text = Text::default();
    let mut add = |name: &str, kind: Kind, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            text.family((name, kind, help), [([] as [(&str, &str); 0], value)]);
        }
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the program's name, which may have anything in it: the third field comes first.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    // Of a second: the same on every Linux, whatever its kernel counts by.
    let ticks = 100.0;
    let used = field(14).zip(field(15)).map(|(user, system)| (user + system) / ticks);
    add("process_cpu_seconds_total", Kind::Counter, "Processor time used.", used);
    add("process_resident_memory_bytes", Kind::Gauge, "Memory in use.", resident());
    add("process_virtual_memory_bytes", Kind::Gauge, "Address space in use.", field(23));
    let open = fs::read_dir("/proc/self/fd").ok().and_then(|fds| u32::try_from(fds.count()).ok());
    add("process_open_fds", Kind::Gauge, "Open descriptors.", open.map(f64::from));
    add("process_max_fds", Kind::Gauge, "The most open descriptors.", most_descriptors());
    let started = boot_time().zip(field(22)).map(|(boot, after)| boot + after / ticks);
    add("process_start_time_seconds", Kind::Gauge, "When it started, in seconds since 1970.", started);
    text.into_string()
}

fn resident() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn most_descriptors() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
