//! Mount options as persistent volumes and classes write them: what any mount may forbid, and what a file system is told.

use super::super::VolumeError;
use skiff_rooted::Restriction;

/// Mount options, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Options {
    pub(super) restrictions: Vec<Restriction>,
    /// Those of the file system, each a name and perhaps a value.
    pub(super) file_system: Vec<(String, Option<String>)>,
}

/// Reads options; each may be several, with commas between.
pub(super) fn parse(options: &[String]) -> Options {
    let mut read = Options::default();
    for option in options.iter().flat_map(|option| option.split(',')).filter(|option| !option.is_empty()) {
        let restriction = match option {
            "ro" => Restriction::ReadOnly,
            "nosuid" => Restriction::NoSetUserId,
            "nodev" => Restriction::NoDevices,
            "noexec" => Restriction::NoPrograms,
            "noatime" => Restriction::NoAccessTimes,
            "nodiratime" => Restriction::NoAccessTimesOfDirectories,
            "strictatime" => Restriction::StrictAccessTimes,
            // What is so anyway.
            "defaults" | "rw" | "suid" | "dev" | "exec" | "async" | "relatime" | "atime" | "diratime" => {
                continue;
            }
            other => {
                let (name, value) =
                    other.split_once('=').map_or((other, None), |(name, value)| (name, Some(value)));
                read.file_system.push((name.to_owned(), value.map(str::to_owned)));
                continue;
            }
        };
        read.restrictions.push(restriction);
    }
    read
}

impl Options {
    /// The restrictions, where there is no file system of its own that could be told anything.
    pub(super) fn only_restrictions(self, what: &'static str) -> Result<Vec<Restriction>, VolumeError> {
        match self.file_system.into_iter().next() {
            None => Ok(self.restrictions),
            Some((name, value)) => {
                let option = value.map_or(name.clone(), |value| format!("{name}={value}"));
                Err(VolumeError::MountOption { option, what })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_apart() {
        let check = |options: &[&str], restrictions: &[Restriction], told: &[(&str, Option<&str>)]| {
            let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            let read = parse(&options);
            assert_eq!(read.restrictions, restrictions, "{options:?}");
            let own = |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
            assert_eq!(read.file_system, told.iter().map(own).collect::<Vec<_>>(), "{options:?}");
        };
        check(&[], &[], &[]);
        check(&["defaults,rw", "relatime"], &[], &[]);
        check(
            &["noatime,nosuid", "ro"],
            &[Restriction::NoAccessTimes, Restriction::NoSetUserId, Restriction::ReadOnly],
            &[],
        );
        check(&["commit=30", "lazytime"], &[], &[("commit", Some("30")), ("lazytime", None)]);
    }

    #[test]
    fn a_directory_has_no_file_system_to_tell() {
        let check = |option: &str, expected: Result<usize, &str>| {
            let restrictions = parse(&[option.to_owned()]).only_restrictions("a directory");
            let actual = restrictions.map(|all| all.len()).map_err(|error| error.to_string());
            assert_eq!(actual, expected.map_err(str::to_owned));
        };
        check("noexec", Ok(1));
        check("commit=30", Err("mount option \"commit=30\" is not supported for a directory"));
        check("nfsvers", Err("mount option \"nfsvers\" is not supported for a directory"));
    }
}
