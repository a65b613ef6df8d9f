//! Finding and executing the program of a container or command, with errors a user can act on.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Finds the program as `execvp` would, in the container we are already inside of. The error is for the user.
pub(super) fn find(name: &str, cwd: &Path, env: &[String]) -> Result<PathBuf, String> {
    let check = |path: &Path| -> Result<bool, String> {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) if error.raw_os_error() == Some(libc::ENOTDIR) => Ok(false),
            Err(error) => Err(format!("exec: {name:?}: {}", plain(&error))),
            Ok(found) if found.is_dir() => Err(format!("exec: {name:?}: is a directory")),
            Ok(_) if rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_err() => {
                Err(format!("exec: {name:?}: permission denied"))
            }
            Ok(_) => Ok(true),
        }
    };
    if name.contains('/') {
        let path = cwd.join(name);
        return if check(&path)? {
            Ok(path)
        } else {
            Err(format!("exec: {name:?}: stat {name}: no such file or directory"))
        };
    }
    let path = env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or_default();
    let mut refused = None;
    for directory in path.split(':') {
        let candidate = cwd.join(directory).join(name);
        match check(&candidate) {
            Ok(true) => return Ok(candidate),
            Ok(false) => {}
            Err(reason) => refused = Some(reason),
        }
    }
    Err(refused.unwrap_or_else(|| format!("exec: {name:?}: executable file not found in $PATH")))
}

/// Becomes the program. Returns only the reason why not, for the user.
pub(super) fn execute(path: &Path, args: &[String], env: &[String]) -> String {
    let text = |s: &str| CString::new(s).map_err(|_| format!("exec: {s:?}: contains a zero byte"));
    let prepared = (|| {
        let path =
            CString::new(path.as_os_str().as_bytes()).map_err(|_| "exec: zero byte in path".to_owned())?;
        let args: Vec<CString> = args.iter().map(|a| text(a)).collect::<Result<_, _>>()?;
        let env: Vec<CString> = env.iter().map(|e| text(e)).collect::<Result<_, _>>()?;
        Ok((path, args, env))
    })();
    match prepared {
        Ok((program, args, env)) => match nix::unistd::execve(&program, &args, &env) {
            Ok(never) => match never {},
            Err(error) => format!("exec {}: {}", path.display(), plain(&error.into())),
        },
        Err(reason) => reason,
    }
}

/// An error of the system in the words C programs use, without Rust's number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text[..1].to_lowercase() + &text[1..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_would() {
        let env = ["PATH=/nonexistent:/bin".to_owned()];
        let root = Path::new("/");
        assert_eq!(find("sh", root, &env).unwrap(), Path::new("/bin/sh"));
        assert_eq!(find("./sh", Path::new("/bin"), &env).unwrap(), Path::new("/bin/./sh"));
        assert_eq!(
            find("nope", root, &env).unwrap_err(),
            "exec: \"nope\": executable file not found in $PATH"
        );
        assert_eq!(find("/etc/passwd", root, &env).unwrap_err(), "exec: \"/etc/passwd\": permission denied");
        assert_eq!(
            find("/nope", root, &env).unwrap_err(),
            "exec: \"/nope\": stat /nope: no such file or directory"
        );
        assert_eq!(find("/bin", root, &env).unwrap_err(), "exec: \"/bin\": is a directory");
    }
}
