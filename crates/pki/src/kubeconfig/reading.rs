//! kubeconfig files for clients: read, merged, with paths that hold wherever the client runs.
//!
//! As kube reads them, but through a tree: kube's own reader is compiled for each of the file's types against a YAML reader, which
//! takes a third of a megabyte.

use std::path::{Path, PathBuf};

use kube::config::Kubeconfig;
use serde_json::Value;

use super::KubeconfigError;

/// Fields of a kubeconfig's entries that name files, relative to the kubeconfig's directory.
const FILES: [(&str, &str, &[&str]); 2] = [
    ("clusters", "cluster", &["certificate-authority"]),
    ("users", "user", &["client-certificate", "client-key", "tokenFile"]),
];

/// The kubeconfig in a text, several documents merged into one.
///
/// # Errors
/// When it is not YAML, or not a kubeconfig.
pub fn parse_config(text: &str) -> Result<Kubeconfig, KubeconfigError> {
    merged(documents(text)?)
}

/// The kubeconfig in a file; what it names by relative paths is named by absolute ones.
///
/// # Errors
/// When the file cannot be read, is not YAML, or not a kubeconfig.
pub fn read_config(path: impl AsRef<Path>) -> Result<Kubeconfig, KubeconfigError> {
    let path = path.as_ref();
    let failed = |source| KubeconfigError::Read { path: path.to_owned(), source };
    let mut documents = documents(&std::fs::read_to_string(path).map_err(failed)?)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    documents.iter_mut().for_each(|document| resolve(document, directory));
    merged(documents)
}

/// The kubeconfig that a user means who names none: the files of `KUBECONFIG`, of which the first to say something counts, else
/// `~/.kube/config`.
///
/// # Errors
/// As of [`read_config`], and when there is no home directory.
pub fn read_usual_config() -> Result<Kubeconfig, KubeconfigError> {
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let mut paths = std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).peekable();
    if paths.peek().is_none() {
        let home = std::env::home_dir().ok_or(KubeconfigError::Homeless)?;
        return read_config(home.join(".kube/config"));
    }
    paths.try_fold(Kubeconfig::default(), |all, path| merge(all, read_config(path)?))
}

fn documents(text: &str) -> Result<Vec<Value>, KubeconfigError> {
    serde_saphyr::from_multiple(text).map_err(|error| KubeconfigError::Syntax(error.to_string()))
}

fn merged(documents: Vec<Value>) -> Result<Kubeconfig, KubeconfigError> {
    documents.into_iter().filter(|document| !document.is_null()).try_fold(
        Kubeconfig::default(),
        |all, document| {
            let next = serde_json::from_value(document)
                .map_err(|error| KubeconfigError::Syntax(error.to_string()))?;
            merge(all, next)
        },
    )
}

fn merge(all: Kubeconfig, next: Kubeconfig) -> Result<Kubeconfig, KubeconfigError> {
    all.merge(next).map_err(|error| KubeconfigError::Mixed(error.to_string()))
}

/// Makes the paths of a document's files absolute, and those of programs that are named by paths.
fn resolve(document: &mut Value, directory: &Path) {
    for (list, entry, fields) in FILES {
        for named in document[list].as_array_mut().into_iter().flatten() {
            for field in fields {
                absolute(named[entry].get_mut(field), directory);
            }
            let command = named[entry].get_mut("exec").and_then(|exec| exec.get_mut("command"));
            absolute(command.filter(|name| name.as_str().is_some_and(|name| name.contains('/'))), directory);
        }
    }
}

fn absolute(path: Option<&mut Value>, directory: &Path) {
    if let Some(Value::String(path)) = path
        && !path.is_empty()
    {
        let joined: PathBuf = directory.join(&*path);
        *path = std::path::absolute(&joined).unwrap_or(joined).display().to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_files_directory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        let text = "\
clusters: [{name: a, cluster: {server: 'https://a', certificate-authority: ca.crt}}]
users:
- {name: a, user: {client-certificate: /b.crt, client-key: k/b.key, exec: {command: bin/login}}}
- {name: b, user: {tokenFile: '', exec: {command: login}}}
---
contexts: [{name: a, context: {cluster: a, user: a}}]
current-context: a
";
        std::fs::write(&path, text).unwrap();
        let config = read_config(&path).unwrap();
        let here = |name: &str| Some(directory.path().join(name).display().to_string());
        let user = |at: usize| config.auth_infos[at].auth_info.clone().unwrap();
        let cluster = config.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.certificate_authority, here("ca.crt"));
        assert_eq!(user(0).client_certificate.as_deref(), Some("/b.crt"));
        assert_eq!(user(0).client_key, here("k/b.key"));
        assert_eq!(user(0).exec.unwrap().command, here("bin/login"));
        assert_eq!(user(1).exec.unwrap().command.as_deref(), Some("login"));
        assert_eq!(config.current_context.as_deref(), Some("a"));
    }

    #[test]
    fn what_is_no_kubeconfig_is_said() {
        assert!(parse_config("").unwrap().clusters.is_empty());
        let error = |text: &str| parse_config(text).unwrap_err().to_string();
        assert!(error("clusters: [").starts_with("the kubeconfig is not valid YAML: "));
        assert!(error("clusters: 1").contains("invalid type: integer `1`, expected a sequence"));
        assert!(error("kind: A\n---\nkind: B").starts_with("the kubeconfig is not usable: "));
        let missing = read_config("/nowhere/config").unwrap_err();
        assert_eq!(missing.to_string(), "cannot read the kubeconfig /nowhere/config");
    }
}
