//! kubeconfig files as text: one of our own, a context merged into someone's, and taken out again.
//!
//! Entries that are not ours keep their content and order; comments and formatting are lost, as they are
//! when kubectl writes the file.

use std::io;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::Credentials;
use super::yaml::Yaml;

mod reading;

pub use reading::{parse_config, read_config, read_usual_config};

/// A context with the cluster and the user that it joins; all three have its name.
#[derive(Clone)]
pub struct ContextEntry {
    /// Name of context, cluster and user.
    pub name: String,
    /// URL of the API server.
    pub server: String,
    /// The authority that the server is verified against, PEM.
    pub ca_pem: String,
    /// The user's certificate and key.
    pub credentials: Credentials,
}

/// A kubeconfig file cannot be used or changed; nothing was written.
#[derive(Debug, Error)]
pub enum KubeconfigError {
    /// Not YAML.
    #[error("the kubeconfig is not valid YAML: {0}")]
    Syntax(String),
    /// YAML, but of another shape.
    #[error("the kubeconfig is not usable: {0} is not a {1}")]
    Shape(&'static str, &'static str),
    /// Documents or files that do not go together.
    #[error("the kubeconfig is not usable: {0}")]
    Mixed(String),
    /// The file cannot be read.
    #[error("cannot read the kubeconfig {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No file was named, and the user has no directory that it could be in.
    #[error("no kubeconfig is named by KUBECONFIG, and there is no home directory")]
    Homeless,
}

/// The lists that a context has an entry in, and the order of a file that we start.
const LISTS: [&str; 3] = ["clusters", "contexts", "users"];

/// A kubeconfig with this context alone.
pub fn render(entry: &ContextEntry) -> String {
    let mut document = empty();
    put(&mut document, entry).and_then(|()| print(&document)).unwrap_or_else(|error| {
        unreachable!("a document of known shape can be written: {error}");
    })
}

/// The kubeconfig with the context added, or replaced where it stands, and made the current one. An empty
/// text is a file that does not exist yet.
pub fn merge(existing: &str, entry: &ContextEntry) -> Result<String, KubeconfigError> {
    let mut document = parse(existing)?;
    put(&mut document, entry)?;
    print(&document)
}

/// The kubeconfig with newer credentials of the context's user, if the context leads to this authority's cluster; else as it is: a
/// user may have removed it, or given its name to another cluster.
pub fn renew(existing: &str, entry: &ContextEntry) -> Result<String, KubeconfigError> {
    let mut document = parse(existing)?;
    let authority = |item: &Yaml| item.get("cluster")?.get("certificate-authority-data").cloned();
    let named = |item: &&mut Yaml| name_of(item) == Some(&entry.name);
    let cluster = entries(&mut document, "clusters")?.iter_mut().find(named);
    if cluster.and_then(|item| authority(item)) != Some(base64(&entry.ca_pem)) {
        return Ok(existing.to_owned());
    }
    let user = entries(&mut document, "users")?.iter_mut().find(named);
    if user.as_ref().is_none_or(|item| item.get("user") == Some(&user_of(entry))) {
        return Ok(existing.to_owned());
    }
    put_entry(
        &mut document,
        "users",
        Yaml::from([("name", Yaml::from(&*entry.name)), ("user", user_of(entry))]),
    )?;
    print(&document)
}

/// The kubeconfig without the context, its cluster and its user. No context is current afterwards if it
/// was this one.
pub fn remove(existing: &str, name: &str) -> Result<String, KubeconfigError> {
    let mut document = parse(existing)?;
    for list in LISTS {
        entries(&mut document, list)?.retain(|item| name_of(item) != Some(name));
    }
    if document.get("current-context").and_then(Yaml::as_str) == Some(name) {
        set(&mut document, "current-context", Yaml::from(""))?;
    }
    print(&document)
}

fn empty() -> Yaml {
    let list = || Yaml::List(Vec::new());
    Yaml::from([
        ("apiVersion", Yaml::from("v1")),
        ("clusters", list()),
        ("contexts", list()),
        ("current-context", Yaml::from("")),
        ("kind", Yaml::from("Config")),
        ("users", list()),
    ])
}

fn parse(text: &str) -> Result<Yaml, KubeconfigError> {
    if text.trim().is_empty() {
        return Ok(empty());
    }
    match serde_saphyr::from_str(text).map_err(|error| KubeconfigError::Syntax(error.to_string()))? {
        Yaml::Null => Ok(empty()),
        document @ Yaml::Map(_) => Ok(document),
        _ => Err(KubeconfigError::Shape("the document", "mapping")),
    }
}

fn print(document: &Yaml) -> Result<String, KubeconfigError> {
    serde_saphyr::to_string(document).map_err(|error| KubeconfigError::Syntax(error.to_string()))
}

fn put(document: &mut Yaml, entry: &ContextEntry) -> Result<(), KubeconfigError> {
    let name = || Yaml::from(entry.name.as_str());
    let cluster = Yaml::from([
        ("certificate-authority-data", base64(&entry.ca_pem)),
        ("server", Yaml::from(entry.server.as_str())),
    ]);
    put_entry(document, "clusters", Yaml::from([("cluster", cluster), ("name", name())]))?;
    put_context(document, &entry.name)?;
    put_entry(document, "users", Yaml::from([("name", name()), ("user", user_of(entry))]))?;
    set(document, "current-context", name())
}

fn base64(pem: &str) -> Yaml {
    Yaml::Text(STANDARD.encode(pem))
}

fn user_of(entry: &ContextEntry) -> Yaml {
    Yaml::from([
        ("client-certificate-data", base64(&entry.credentials.certificate)),
        ("client-key-data", base64(&entry.credentials.key)),
    ])
}

/// Our context; what the user added to it (a namespace) stays.
fn put_context(document: &mut Yaml, name: &str) -> Result<(), KubeconfigError> {
    let old = entries(document, "contexts")?.iter().find(|item| name_of(item) == Some(name));
    let mut context = match old.and_then(|item| item.get("context")) {
        Some(context @ Yaml::Map(_)) => context.clone(),
        _ => Yaml::Map(Vec::new()),
    };
    set(&mut context, "cluster", Yaml::from(name))?;
    set(&mut context, "user", Yaml::from(name))?;
    put_entry(document, "contexts", Yaml::from([("context", context), ("name", Yaml::from(name))]))
}

/// Replaces the list's entry of that name in its place, or appends.
fn put_entry(document: &mut Yaml, list: &'static str, entry: Yaml) -> Result<(), KubeconfigError> {
    let items = entries(document, list)?;
    match items.iter_mut().find(|item| name_of(item) == name_of(&entry)) {
        Some(item) => *item = entry,
        None => items.push(entry),
    }
    Ok(())
}

/// The items of a top-level list, made if it is missing or null.
fn entries<'a>(document: &'a mut Yaml, list: &'static str) -> Result<&'a mut Vec<Yaml>, KubeconfigError> {
    if matches!(document.get(list), None | Some(Yaml::Null)) {
        set(document, list, Yaml::List(Vec::new()))?;
    }
    let Yaml::Map(pairs) = document else { return Err(KubeconfigError::Shape("the document", "mapping")) };
    match pairs.iter_mut().find(|(key, _)| key == list) {
        Some((_, Yaml::List(items))) => Ok(items),
        _ => Err(KubeconfigError::Shape(list, "list")),
    }
}

fn set(map: &mut Yaml, key: &str, value: Yaml) -> Result<(), KubeconfigError> {
    let Yaml::Map(pairs) = map else { return Err(KubeconfigError::Shape("the document", "mapping")) };
    match pairs.iter_mut().find(|(k, _)| k == key) {
        Some((_, slot)) => *slot = value,
        None => pairs.push((key.to_owned(), value)),
    }
    Ok(())
}

fn name_of(entry: &Yaml) -> Option<&str> {
    entry.get("name").and_then(Yaml::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(server: &str) -> ContextEntry {
        ContextEntry {
            name: "skiff".to_owned(),
            server: server.to_owned(),
            ca_pem: "ca".to_owned(),
            credentials: Credentials { certificate: "cert".to_owned(), key: "key".to_owned() },
        }
    }

    const OTHERS: &str = "\
kind: Config
apiVersion: v1
preferences: {}
users:
- name: zoe
  user:
    token: \"0123\"
    exec: null
clusters:
- name: prod
  cluster:
    server: https://prod:6443
    insecure-skip-tls-verify: true
contexts:
- name: prod
  context:
    user: zoe
    cluster: prod
current-context: prod
";

    #[test]
    fn own_file_has_one_context() {
        let text = render(&entry("https://127.0.0.1:6443"));
        assert_eq!(
            text,
            "\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Y2E=
    server: https://127.0.0.1:6443
  name: skiff
contexts:
- context:
    cluster: skiff
    user: skiff
  name: skiff
current-context: skiff
kind: Config
users:
- name: skiff
  user:
    client-certificate-data: Y2VydA==
    client-key-data: a2V5
"
        );
        let config = parse_config(&text).unwrap();
        assert_eq!(config.current_context.as_deref(), Some("skiff"));
    }

    #[test]
    fn merging_keeps_others_and_their_order() {
        let once = merge(OTHERS, &entry("https://a")).unwrap();
        let names = |text: &str| -> Vec<String> {
            let Yaml::Map(pairs) = parse(text).unwrap() else { panic!("a mapping") };
            pairs.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(names(&once), names(OTHERS));
        let before = parse(OTHERS).unwrap();
        let after = parse(&once).unwrap();
        for list in LISTS {
            let (Some(Yaml::List(old)), Some(Yaml::List(new))) = (before.get(list), after.get(list)) else {
                panic!("{list} is a list");
            };
            assert_eq!(new.len(), 2);
            assert_eq!(old[0], new[0]);
        }
        assert_eq!(after.get("current-context").and_then(Yaml::as_str), Some("skiff"));
        let twice = merge(&once, &entry("https://b")).unwrap();
        assert_eq!(twice, once.replace("https://a", "https://b"), "merging again replaces in place");
    }

    #[test]
    fn a_namespace_chosen_by_the_user_survives() {
        let text = merge("", &entry("https://a")).unwrap();
        let chosen = text.replace("    cluster: skiff\n", "    cluster: skiff\n    namespace: web\n");
        assert_eq!(merge(&chosen, &entry("https://a")).unwrap(), chosen);
    }

    #[test]
    fn newer_credentials_go_to_the_context_of_this_cluster_alone() {
        let newer = ContextEntry {
            credentials: Credentials { certificate: "newer".to_owned(), key: "key".to_owned() },
            ..entry("https://a")
        };
        let text = merge(OTHERS, &entry("https://a")).unwrap();
        let elsewhere = text.replace("current-context: skiff", "current-context: prod");
        let renewed = renew(&elsewhere, &newer).unwrap();
        let base64 = |text: &str| STANDARD.encode(text);
        assert_eq!(renewed, elsewhere.replace(&base64("cert"), &base64("newer")));
        assert_eq!(renew(&renewed, &newer).unwrap(), renewed);
        let check_untouched = |text: &str| assert_eq!(renew(text, &newer).unwrap(), text);
        check_untouched(OTHERS);
        check_untouched("");
        // Another cluster has taken the name.
        check_untouched(&text.replace(&base64("ca"), &base64("other")));
    }

    #[test]
    fn removing_undoes_merging() {
        let merged = merge(OTHERS, &entry("https://a")).unwrap();
        let removed = parse(&remove(&merged, "skiff").unwrap()).unwrap();
        let mut expected = parse(OTHERS).unwrap();
        set(&mut expected, "current-context", Yaml::from("")).unwrap();
        assert_eq!(removed, expected);
        let untouched = parse(&remove(OTHERS, "skiff").unwrap()).unwrap();
        assert_eq!(untouched, parse(OTHERS).unwrap(), "someone else's current context stays");
    }

    #[test]
    fn refuses_what_is_no_kubeconfig() {
        let check = |text: &str| assert!(merge(text, &entry("https://a")).is_err(), "{text:?}");
        check("- a\n");
        check("clusters: 3\n");
        check("a: [\n");
    }
}
