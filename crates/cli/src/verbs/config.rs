//! `config`: the kubeconfig.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::context::{CONTEXT, Context, KUBECONFIG, NAMESPACE};
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::columns::TABLE;
use crate::print::objects::{self, OUTPUT};
use crate::print::{Format, yaml};

const RAW: Flag = Flag::switch("raw", "With certificates, keys and tokens");
const MINIFY: Flag = Flag::switch("minify", "Only what the current context needs");
const NO_HEADERS: Flag = Flag::switch("no-headers", "Leave the header line out");
const CURRENT: Flag = Flag::switch("current", "Change the current context");

pub(crate) const COMMAND: Command =
    Command::new("config", "SUBCOMMAND [options]", "Read and change the kubeconfig").commands(&[
        Command::new("current-context", "[flags] [options]", "Print the name of the current context")
            .run(|cx, given| Box::pin(current_context(cx, given))),
        Command::new("get-clusters", "[flags] [options]", "List the clusters")
            .run(|cx, given| Box::pin(names(cx, given, "clusters"))),
        Command::new("get-contexts", "[(-o|--output=)name)]", "List the contexts, or tell of one")
            .flags(&[&[OUTPUT, NO_HEADERS]])
            .run(|cx, given| Box::pin(get_contexts(cx, given))),
        Command::new("get-users", "[flags] [options]", "List the users")
            .run(|cx, given| Box::pin(names(cx, given, "users"))),
        Command::new(
            "set-context",
            "[NAME | --current] [--namespace=namespace]",
            "Set the namespace of a context",
        )
        .examples(
            "# Act in another namespace from now on\nkubectl config set-context --current --namespace=shop",
        )
        .flags(&[&[CURRENT]])
        .run(|cx, given| Box::pin(set_context(cx, given))),
        Command::new("use-context", "CONTEXT_NAME", "Make a context the current one")
            .aliases(&["use"])
            .examples("# Speak to another cluster from now on\nkubectl config use-context skiff")
            .run(|cx, given| Box::pin(use_context(cx, given))),
        Command::new("view", "[flags] [options]", "Show the kubeconfig")
            .flags(&[&[OUTPUT, RAW, MINIFY]])
            .run(|cx, given| Box::pin(view(cx, given))),
    ]);

/// The kubeconfig as a tree.
fn tree(cx: &Context) -> Result<Value, Error> {
    Ok(serde_json::to_value(cx.kubeconfig()?)?)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn named<'a>(config: &'a Value, list: &str, name: &str) -> Option<&'a Value> {
    config[list].as_array()?.iter().find(|entry| entry["name"] == name)
}

/// The context that `--context` names, or the current one.
fn current<'a>(given: &'a Given, config: &'a Value) -> &'a str {
    given.some(&CONTEXT).unwrap_or_else(|| text(config, "current-context"))
}

async fn current_context(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    given.no_words()?;
    let config = tree(cx)?;
    match text(&config, "current-context") {
        "" => Err(Error::usage("current-context is not set")),
        name => {
            skiff_print::line(name)?;
            Ok(Outcome::Done)
        }
    }
}

async fn names(cx: &Context, given: &Given, list: &str) -> Result<Outcome, Error> {
    given.no_words()?;
    let config = tree(cx)?;
    let mut names: Vec<&str> =
        config[list].as_array().into_iter().flatten().map(|entry| text(entry, "name")).collect();
    names.sort_unstable();
    skiff_print::line("NAME")?;
    for name in names {
        skiff_print::line(name)?;
    }
    Ok(Outcome::Done)
}

async fn get_contexts(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let only_names = match given.text(&OUTPUT) {
        "" => false,
        "name" => true,
        other => return Err(Error::Usage(format!("output must be one of '' or 'name': {other}"))),
    };
    let config = tree(cx)?;
    let mut contexts: Vec<&Value> = config["contexts"].as_array().into_iter().flatten().collect();
    skiff_ordered::sort_by_key(&mut contexts, |context| text(context, "name"));
    let mut errors = Vec::new();
    for word in &given.words {
        if named(&config, "contexts", word).is_none() {
            errors.push(Error::Usage(format!("context {word} not found")));
        }
    }
    if !given.words.is_empty() {
        contexts.retain(|context| given.words.iter().any(|word| word == text(context, "name")));
    }
    let mut lines = String::new();
    if !only_names && !given.is_on(&NO_HEADERS) {
        lines.push_str("CURRENT\tNAME\tCLUSTER\tAUTHINFO\tNAMESPACE\n");
    }
    for context in contexts {
        let (name, inner) = (text(context, "name"), &context["context"]);
        if only_names {
            lines.push_str(&format!("{name}\n"));
            continue;
        }
        let mark = if name == current(given, &config) { "*" } else { "" };
        let (cluster, user, namespace) =
            (text(inner, "cluster"), text(inner, "user"), text(inner, "namespace"));
        lines.push_str(&format!("{mark}\t{name}\t{cluster}\t{user}\t{namespace}\n"));
    }
    skiff_print::text(if only_names { lines } else { TABLE.set(&lines) })?;
    Error::all(errors)?;
    Ok(Outcome::Done)
}

async fn view(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    given.no_words()?;
    let mut config = tree(cx)?;
    if given.is_on(&MINIFY) {
        let context = current(given, &config).to_owned();
        minify(&mut config, &context)?;
    }
    config["apiVersion"] = json!("v1");
    config["kind"] = json!("Config");
    if !given.is_on(&RAW) {
        hide(&mut config);
    }
    let format = given.some(&OUTPUT).map_or(Ok(Format::Yaml), Format::parse)?;
    match format {
        Format::Yaml => skiff_print::text(yaml::document(&config))?,
        format => objects::print(&format, &config, given)?,
    }
    Ok(Outcome::Done)
}

/// Keeps what one context needs.
fn minify(config: &mut Value, context: &str) -> Result<(), Error> {
    let found = named(config, "contexts", context).cloned();
    let found = found.ok_or_else(|| Error::Usage(format!("cannot locate context {context}")))?;
    let keep = [
        ("contexts", context.to_owned()),
        ("clusters", text(&found["context"], "cluster").to_owned()),
        ("users", text(&found["context"], "user").to_owned()),
    ];
    for (list, name) in keep {
        if let Some(entries) = config[list].as_array_mut() {
            entries.retain(|entry| entry["name"] == name.as_str());
        }
    }
    config["current-context"] = json!(context);
    Ok(())
}

/// Puts words in the place of secrets.
fn hide(config: &mut Value) {
    for cluster in config["clusters"].as_array_mut().into_iter().flatten() {
        replace(&mut cluster["cluster"], "certificate-authority-data", "DATA+OMITTED");
    }
    for user in config["users"].as_array_mut().into_iter().flatten() {
        for (field, words) in [
            ("client-certificate-data", "DATA+OMITTED"),
            ("client-key-data", "DATA+OMITTED"),
            ("token", "REDACTED"),
            ("password", "REDACTED"),
        ] {
            replace(&mut user["user"], field, words);
        }
    }
}

fn replace(object: &mut Value, field: &str, words: &str) {
    if let Some(value) =
        object.get_mut(field).filter(|value| value.as_str().is_some_and(|text| !text.is_empty()))
    {
        *value = json!(words);
    }
}

async fn use_context(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let [name] = given.words.as_slice() else {
        return Err(given.misuse(format_args!("Unexpected args: [{}]", given.words.join(" "))));
    };
    let config = tree(cx)?;
    if named(&config, "contexts", name).is_none() {
        return Err(Error::Usage(format!("no context exists with the name: \"{name}\"")));
    }
    change(given, |config| {
        config["current-context"] = json!(name);
        Ok(())
    })?;
    skiff_print::line(format_args!("Switched to context \"{name}\"."))?;
    Ok(Outcome::Done)
}

async fn set_context(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let config = tree(cx)?;
    let name = match (given.words.as_slice(), given.is_on(&CURRENT)) {
        ([], true) => text(&config, "current-context").to_owned(),
        ([name], false) => name.clone(),
        _ => return Err(Error::usage("you must specify a non-empty context name or --current")),
    };
    let Some(namespace) = given.some(&NAMESPACE) else {
        return Err(Error::usage(
            "set-context sets the --namespace of a context that is there; for more, edit the kubeconfig",
        ));
    };
    if named(&config, "contexts", &name).is_none() {
        return Err(Error::Usage(format!("no context exists with the name: \"{name}\"")));
    }
    change(given, |config| {
        let contexts = config["contexts"].as_array_mut().into_iter().flatten();
        for context in contexts.filter(|context| context["name"] == name.as_str()) {
            context["context"]["namespace"] = json!(namespace);
        }
        Ok(())
    })?;
    skiff_print::line(format_args!("Context \"{name}\" modified."))?;
    Ok(Outcome::Done)
}

/// Changes the file that the command line or the environment names, or else that in the home directory.
fn change(given: &Given, make: impl FnOnce(&mut Value) -> Result<(), Error>) -> Result<(), Error> {
    let path = path(given)?;
    let failed = |error: &dyn std::fmt::Display| Error::Usage(format!("{}: {error}", path.display()));
    let old = std::fs::read_to_string(&path).map_err(|error| failed(&error))?;
    let mut config: Value = serde_saphyr::from_str(&old).map_err(|error| failed(&error))?;
    make(&mut config)?;
    // A reader sees the old file or the new one, and nobody else ever sees the keys.
    let metadata = std::fs::metadata(&path).map_err(|error| failed(&error))?;
    let next = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&next)
        .map_err(|error| failed(&error))?;
    file.write_all(yaml::document(&config).as_bytes()).map_err(|error| failed(&error))?;
    file.set_permissions(metadata.permissions()).map_err(|error| failed(&error))?;
    file.sync_all().map_err(|error| failed(&error))?;
    std::fs::rename(&next, &path).map_err(|error| failed(&error))
}

fn path(given: &Given) -> Result<PathBuf, Error> {
    if let Some(path) = given.some(&KUBECONFIG) {
        return Ok(path.into());
    }
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<PathBuf> =
        std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    match listed.as_slice() {
        [] => {
            let home = std::env::var_os("HOME")
                .ok_or_else(|| Error::usage("HOME is not set: name the --kubeconfig"))?;
            Ok(PathBuf::from(home).join(".kube/config"))
        }
        [path] => Ok(path.clone()),
        _ => Err(Error::usage("KUBECONFIG names several files: name the one to change with --kubeconfig")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_contexts_cut_out() {
        let mut config = json!({
            "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}, {"name": "b", "context": {}}],
            "clusters": [{"name": "c", "cluster": {"certificate-authority-data": "x", "server": "s"}}, {"name": "d"}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        });
        minify(&mut config, "a").unwrap();
        hide(&mut config);
        assert_eq!(
            config,
            json!({
                "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"certificate-authority-data": "DATA+OMITTED", "server": "s"}}],
                "users": [{"name": "u", "user": {"token": "REDACTED"}}],
                "current-context": "a",
            })
        );
        assert_eq!(minify(&mut config, "z").unwrap_err().to_string(), "error: cannot locate context z");
    }
}
