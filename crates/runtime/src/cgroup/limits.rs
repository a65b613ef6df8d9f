//! From limits to the files of a group, on v1 and v2. Pure.

use crate::spec::Resources;

/// One file of a control group and what belongs into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) controller: &'static str,
    pub(super) file: &'static str,
    pub(super) value: String,
    /// Kernels without the feature lack the file, and nothing is lost: what it forbids cannot happen there.
    pub(super) optional: bool,
}

/// What a limit is written into; for files that must be there.
fn setting(controller: &'static str, file: &'static str, value: String) -> Setting {
    Setting { controller, file, value, optional: false }
}

/// The limits of a group. There is never swap beyond the memory: a limit would not hold.
pub(super) fn group(limits: &Resources, v2: bool) -> Vec<Setting> {
    let mut settings: Vec<Setting> =
        limits.cpu_shares.map(|shares| cpu_shares(shares, v2)).into_iter().collect();
    if let Some(quota) = limits.cpu_quota {
        settings.extend(cpu_quota(quota, limits.cpu_period.unwrap_or(100_000), v2));
    }
    settings.extend(memory(limits.memory_limit, v2));
    settings.extend(limits.pids.map(|pids| setting("pids", "pids.max", number_or_max(pids))));
    settings
}

/// The limits of a container's group: on v2 the kernel also ends the whole container when it kills one of its
/// processes for want of memory, as the kubelet's `singleProcessOOMKill: false` asks for. On v1 the supervisor does.
pub(super) fn container(limits: &Resources, v2: bool) -> Vec<Setting> {
    let mut settings = group(limits, v2);
    if v2 {
        settings.push(setting("memory", "memory.oom.group", "1".into()));
    }
    settings
}

/// The limits of a group that has other ones. On v1 the memory may never be more than memory and swap together, so of
/// these two the one that leads comes first.
pub(super) fn change(from: &Resources, to: &Resources, v2: bool) -> Vec<Setting> {
    let mut settings = group(to, v2);
    let grows = from.memory_limit.is_some_and(|from| to.memory_limit.is_some_and(|to| to > from));
    if !v2 && grows {
        let is_sum = |setting: &Setting| setting.file == "memory.memsw.limit_in_bytes";
        skiff_ordered::sort_by_key(&mut settings, |setting| !is_sum(setting));
    }
    settings
}

/// The CPU weight of a group, 1024 shares for one CPU.
pub(super) fn cpu_shares(shares: u64, v2: bool) -> Setting {
    if v2 {
        setting("cpu", "cpu.weight", cpu_weight(shares).to_string())
    } else {
        setting("cpu", "cpu.shares", shares.clamp(2, 262_144).to_string())
    }
}

fn cpu_quota(quota: i64, period: u64, v2: bool) -> Vec<Setting> {
    if v2 {
        return vec![setting("cpu", "cpu.max", format!("{} {period}", number_or_max(quota)))];
    }
    // The period first: the old quota may be too long for the new one, but the default quota is none.
    vec![
        setting("cpu", "cpu.cfs_period_us", period.to_string()),
        setting("cpu", "cpu.cfs_quota_us", quota.to_string()),
    ]
}

fn memory(limit: Option<i64>, v2: bool) -> Vec<Setting> {
    let swap = |file, value| Setting { optional: true, ..setting("memory", file, value) };
    match (limit, v2) {
        (None, true) => vec![swap("memory.swap.max", "0".into())],
        (Some(bytes), true) => {
            vec![swap("memory.swap.max", "0".into()), setting("memory", "memory.max", number_or_max(bytes))]
        }
        (None, false) => Vec::new(),
        // Memory and swap together, which may not be less than the memory alone: so it comes second.
        (Some(bytes), false) => vec![
            setting("memory", "memory.limit_in_bytes", bytes.to_string()),
            swap("memory.memsw.limit_in_bytes", bytes.to_string()),
        ],
    }
}

fn number_or_max(number: i64) -> String {
    if number < 0 { "max".to_owned() } else { number.to_string() }
}

/// The v2 weight (1–10000) that stands for v1 shares (2–262144): least, greatest and default value (1024, 100) of one
/// are those of the other, by the curve that runc and crun agreed on for KEP-2254 in 2025.
fn cpu_weight(shares: u64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "at most 18 bits")]
    let log = (shares.clamp(2, 262_144) as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10000")]
    let weight = 10f64.powf(exponent).ceil() as u64;
    weight.clamp(1, 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_the_ends_and_the_default_of_shares() {
        for (shares, weight) in [
            (0, 1),
            (2, 1),
            (102, 17),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (4096, 303),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
    }

    fn files(settings: &[Setting]) -> Vec<String> {
        settings.iter().map(|s| format!("{} {}", s.file, s.value)).collect()
    }

    #[test]
    fn limits_are_the_files_of_either_version() {
        let limits = Resources {
            cpu_shares: Some(1024),
            cpu_quota: Some(50_000),
            cpu_period: None,
            memory_limit: Some(1 << 20),
            pids: Some(-1),
        };
        assert_eq!(
            files(&container(&limits, false)),
            [
                "cpu.shares 1024",
                "cpu.cfs_period_us 100000",
                "cpu.cfs_quota_us 50000",
                "memory.limit_in_bytes 1048576",
                "memory.memsw.limit_in_bytes 1048576",
                "pids.max max",
            ]
        );
        assert_eq!(
            files(&container(&limits, true)),
            [
                "cpu.weight 100",
                "cpu.max 50000 100000",
                "memory.swap.max 0",
                "memory.max 1048576",
                "pids.max max",
                "memory.oom.group 1",
            ]
        );
    }

    #[test]
    fn memory_grows_from_the_sum_and_shrinks_to_it() {
        let memory = |bytes| Resources { memory_limit: Some(bytes), ..Resources::default() };
        let (limit, sum) = ("memory.limit_in_bytes 2", "memory.memsw.limit_in_bytes 2");
        assert_eq!(files(&change(&memory(1), &memory(2), false)), [sum, limit]);
        assert_eq!(files(&change(&memory(3), &memory(2), false)), [limit, sum]);
        assert_eq!(files(&change(&Resources::default(), &memory(2), false)), [limit, sum]);
        assert_eq!(files(&change(&memory(1), &memory(2), true)), ["memory.swap.max 0", "memory.max 2"]);
    }

    #[test]
    fn without_limits_there_is_still_no_swap() {
        assert_eq!(files(&group(&Resources::default(), true)), ["memory.swap.max 0"]);
        assert_eq!(files(&group(&Resources::default(), false)), [""; 0]);
    }
}
