//! Device nodes of containers: which ones a description means, and, on cgroup v2, the program in the kernel that lets
//! only those be used.

use crate::spec::ContainerSpec;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A device node to make in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Path inside the container.
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Any of `r`, `w`, `m`.
    pub(crate) access: String,
}

/// Block or character device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Block,
    Character,
}

/// The nodes of a container besides the usual ones: those it names, or all of the host for a privileged one.
pub(crate) fn nodes(spec: &ContainerSpec) -> io::Result<Vec<Node>> {
    let mut nodes = Vec::new();
    if spec.privileged {
        host_nodes(Path::new("/dev"), &mut nodes)?;
    }
    for device in &spec.devices {
        let found = node(&device.host_path, &device.container_path, &device.permissions)?;
        let path = device.host_path.display();
        nodes.push(found.ok_or_else(|| io::Error::other(format!("{path} is not a device")))?);
    }
    Ok(nodes)
}

/// Counters of how often each processor was slowed down for heat, by which a container could tell what others do. They
/// are masked; other paths of containerd's list do not depend on the machine.
pub(crate) fn throttle_files() -> Vec<String> {
    let path = |cpu: u32| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle");
    (0..).map(path).take_while(|path| Path::new(path).exists()).collect()
}

fn node(host: &Path, path: &Path, access: &str) -> io::Result<Option<Node>> {
    let context =
        |error: io::Error| io::Error::new(error.kind(), format!("device {}: {error}", host.display()));
    let found = fs::metadata(host).map_err(context)?;
    let kind = match found.file_type() {
        kind if kind.is_block_device() => Kind::Block,
        kind if kind.is_char_device() => Kind::Character,
        _ => return Ok(None),
    };
    Ok(Some(Node {
        path: path.to_owned(),
        kind,
        major: rustix::fs::major(found.rdev()),
        minor: rustix::fs::minor(found.rdev()),
        mode: found.mode() & 0o777,
        uid: found.uid(),
        gid: found.gid(),
        access: access.to_owned(),
    }))
}

/// Every device below `/dev`, without terminals and what containers have of their own.
fn host_nodes(directory: &Path, nodes: &mut Vec<Node>) -> io::Result<()> {
    const OWN: [&str; 14] = [
        "pts", "shm", "mqueue", "fd", "console", "ptmx", "null", "zero", "full", "tty", "random", "urandom",
        "stdin", "stdout",
    ];
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if directory == Path::new("/dev")
            && entry.file_name().to_str().is_some_and(|name| OWN.contains(&name))
        {
            continue;
        }
        if kind.is_dir() {
            host_nodes(&path, nodes)?;
        } else if kind.is_block_device() || kind.is_char_device() {
            match node(&path, &path, "rwm") {
                Ok(found) => nodes.extend(found),
                // Unplugged meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// One permission: `None` stands for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    kind: Option<Kind>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
}

// The kernel's numbers of a device program's question.
const BLOCK: u32 = 1;
const CHARACTER: u32 = 2;
const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;

/// What every container may do: make any node, and use the harmless ones and its terminals.
fn rules(nodes: &[Node]) -> Vec<Rule> {
    let character = |major, minor: Option<u32>| Rule {
        kind: Some(Kind::Character),
        major: Some(major),
        minor,
        access: MKNOD | READ | WRITE,
    };
    let mut rules = vec![Rule { kind: None, major: None, minor: None, access: MKNOD }];
    // null, zero, full, random, urandom; tty, console, ptmx; terminals.
    rules.extend([3, 5, 7, 8, 9].map(|minor| character(1, Some(minor))));
    rules.extend([0, 1, 2].map(|minor| character(5, Some(minor))));
    rules.push(character(136, None));
    rules.extend(nodes.iter().map(|node| Rule {
        kind: Some(node.kind),
        major: Some(node.major),
        minor: Some(node.minor),
        access: node.access.bytes().fold(0, |bits, letter| {
            bits | match letter {
                b'r' => READ,
                b'w' => WRITE,
                b'm' => MKNOD,
                _ => 0,
            }
        }),
    }));
    rules
}

/// One instruction of the kernel's machine.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high half.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const MOVE_IMMEDIATE: u8 = 0xb7;
const AND_IMMEDIATE: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_UNLESS_EQUAL: u8 = 0x5d;
const JUMP_UNLESS: u8 = 0x55;
const EXIT: u8 = 0x95;

/// A program that says yes when one of the rules covers all of the access asked for.
///
/// Registers: 2 kind, 3 access, 4 major, 5 minor, 6 scratch.
fn program(rules: &[Rule]) -> Vec<Instruction> {
    let step = |code, registers, offset, immediate: u32| Instruction {
        code,
        registers,
        offset,
        immediate: immediate.cast_signed(),
    };
    let mut program = vec![
        step(LOAD_WORD, 0x12, 0, 0),
        step(MOVE, 0x23, 0, 0),
        step(AND_IMMEDIATE, 0x02, 0, 0xffff),
        step(SHIFT_RIGHT, 0x03, 0, 16),
        step(LOAD_WORD, 0x14, 4, 0),
        step(LOAD_WORD, 0x15, 8, 0),
    ];
    for rule in rules {
        let mut tests = vec![step(MOVE, 0x36, 0, 0), step(AND_IMMEDIATE, 0x06, 0, rule.access)];
        tests.push(step(JUMP_UNLESS_EQUAL, 0x36, 0, 0));
        let kind = rule.kind.map(|kind| if kind == Kind::Block { BLOCK } else { CHARACTER });
        for (register, wanted) in [(0x02, kind), (0x04, rule.major), (0x05, rule.minor)] {
            tests.extend(wanted.map(|wanted| step(JUMP_UNLESS, register, 0, wanted)));
        }
        let yes = [step(MOVE_IMMEDIATE, 0x00, 0, 1), step(EXIT, 0, 0, 0)];
        let length = tests.len() + yes.len();
        for (at, test) in tests.iter_mut().enumerate() {
            if matches!(test.code, JUMP_UNLESS | JUMP_UNLESS_EQUAL) {
                // To behind this rule; a rule has less than ten steps.
                test.offset = i16::try_from(length - at - 1).unwrap_or_default();
            }
        }
        program.extend(tests);
        program.extend(yes);
    }
    program.extend([step(MOVE_IMMEDIATE, 0x00, 0, 0), step(EXIT, 0, 0, 0)]);
    program
}

/// Lets the processes of a v2 control group use only the usual devices and the given ones.
pub(crate) fn confine(group: &Path, nodes: &[Node]) -> io::Result<()> {
    const PROG_LOAD: libc::c_int = 5;
    const PROG_ATTACH: libc::c_int = 8;
    const CGROUP_DEVICE_PROGRAM: u32 = 15;
    const CGROUP_DEVICE_HOOK: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    #[repr(C, align(8))]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        rest: [u64; 12],
    }
    #[repr(C, align(8))]
    struct Attach {
        target: u32,
        program: u32,
        hook: u32,
        flags: u32,
    }
    let call =
        |command: libc::c_int, argument: *const libc::c_void, size: usize| -> io::Result<libc::c_long> {
            // SAFETY: the argument and everything it points to live through the call; the size is theirs.
            match unsafe { libc::syscall(libc::SYS_bpf, command, argument, size) } {
                -1 => Err(io::Error::last_os_error()),
                result => Ok(result),
            }
        };
    let program = program(&rules(nodes));
    let load = Load {
        kind: CGROUP_DEVICE_PROGRAM,
        count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        rest: [0; 12],
    };
    let loaded = call(PROG_LOAD, (&raw const load).cast(), size_of::<Load>())?;
    // SAFETY: the kernel just made this descriptor for us.
    let loaded = unsafe { OwnedFd::from_raw_fd(i32::try_from(loaded).map_err(io::Error::other)?) };
    let group = fs::File::open(group)?;
    let raw = |fd: i32| u32::try_from(fd).map_err(io::Error::other);
    let attach = Attach {
        target: raw(group.as_raw_fd())?,
        program: raw(loaded.as_raw_fd())?,
        hook: CGROUP_DEVICE_HOOK,
        flags: ALLOW_MULTI,
    };
    call(PROG_ATTACH, (&raw const attach).cast(), size_of::<Attach>()).map(drop)
}

impl Kind {
    /// The letter of OCI configurations.
    pub(crate) fn letter(self) -> &'static str {
        match self {
            Self::Block => "b",
            Self::Character => "c",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn each_rule_jumps_to_the_next() {
        let rule = Rule { kind: Some(Kind::Block), major: Some(8), minor: None, access: READ };
        let program = program(&[rule]);
        let jumps: Vec<_> =
            program.iter().filter(|i| i.code & 0x7 == 5 && i.code != EXIT).map(|i| i.offset).collect();
        assert_eq!(jumps, [4, 3, 2]);
        assert_eq!(program.len(), 6 + 5 + 2 + 2);
    }

    #[test]
    fn the_kernel_takes_and_enforces_the_program() {
        let tree = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let Some(tree) = tree.into_iter().find(|t| t.join("cgroup.procs").exists()) else {
            println!("skipped: no cgroup v2 tree");
            return;
        };
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let group = tree.join(format!("skiff-devices-{}", std::process::id()));
        fs::create_dir(&group).unwrap();
        let full = node(Path::new("/dev/full"), Path::new("/dev/full"), "rw").unwrap().unwrap();
        confine(&group, &[full]).unwrap();
        let script = format!(
            "echo $$ > {}/cgroup.procs; head -c1 /dev/zero | wc -c; head -c1 /dev/kmsg 2>&1 >/dev/null; echo x > /dev/null",
            group.display()
        );
        let output = Command::new("/bin/busybox").args(["sh", "-c", &script]).output().unwrap();
        fs::remove_dir(&group).unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with("1\n") && text.contains("/dev/kmsg: Operation not permitted"), "{text}");
        assert!(output.status.success());
    }
}
