//! `create secret`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::sources::{self, APPEND_HASH, Data, FROM_FILE, SOURCES};
use super::{CREATE, Kind};
use crate::error::Error;
use crate::line::{Command, Flag, Given};
use crate::print::objects::PRINT;

const TYPE: Flag = Flag::text("type", "Type of the Secret");
const CERT: Flag = Flag::text("cert", "File with the certificate, in PEM");
const KEY: Flag = Flag::text("key", "File with the private key of the certificate");
const SERVER: Flag =
    Flag::text("docker-server", "Address of the registry").default("https://index.docker.io/v1/");
const USERNAME: Flag = Flag::text("docker-username", "User of the registry");
const PASSWORD: Flag = Flag::text("docker-password", "Password of the user");
const EMAIL: Flag = Flag::text("docker-email", "Mail address of the user");

pub(super) const COMMAND: Command =
    Command::new("secret", "(docker-registry | generic | tls) [options]", "Create a Secret").commands(&[
        Command::new(
            "docker-registry",
            "NAME --docker-username=user --docker-password=password --docker-email=email [--docker-server=string] [--from-file=[key=]source] [--dry-run=server|client|none]",
            "Create a Secret with which images are pulled",
        )
        .examples("# For imagePullSecrets\nkubectl create secret docker-registry pull --docker-server=r.example --docker-username=me --docker-password=secret")
        .flags(&[&[SERVER, USERNAME, PASSWORD, EMAIL, FROM_FILE, APPEND_HASH], PRINT, CREATE])
        .run(|cx, given| Box::pin(async move { KIND.send(cx, given, registry(given)?).await })),
        Command::new(
            "generic",
            "NAME [--type=string] [--from-file=[key=]source] [--from-literal=key1=value1] [--dry-run=server|client|none]",
            "Create a Secret from files or literals",
        )
        .examples("# From values\nkubectl create secret generic db --from-literal=user=me --from-literal=password=secret")
        .flags(&[&[TYPE], SOURCES, PRINT, CREATE])
        .run(|cx, given| Box::pin(async move { KIND.send(cx, given, generic(given)?).await })),
        Command::new(
            "tls",
            "NAME --cert=path/to/cert/file --key=path/to/key/file [--dry-run=server|client|none]",
            "Create a Secret with a certificate and its key",
        )
        .examples("# For an Ingress\nkubectl create secret tls shop --cert=shop.crt --key=shop.key")
        .flags(&[&[CERT, KEY, APPEND_HASH], PRINT, CREATE])
        .run(|cx, given| Box::pin(async move { KIND.send(cx, given, tls(given)?).await })),
    ]);

const KIND: Kind = Kind::namespaced("secrets", "failed to create secret ");

fn generic(given: &Given) -> Result<Value, Error> {
    let name = given.name()?;
    let mut data = Data::new(check);
    data.read(given)?;
    Ok(secret(given, name, given.text(&TYPE), &data.entries))
}

fn registry(given: &Given) -> Result<Value, Error> {
    let name = given.name()?;
    let (user, password, server) = (given.text(&USERNAME), given.text(&PASSWORD), given.text(&SERVER));
    let mut data = Data::new(check);
    if given.is_given(&FROM_FILE) {
        for source in given.all(&FROM_FILE) {
            match source.contains('=') {
                true => data.file(source)?,
                false => data.file(&format!(".dockerconfigjson={source}"))?,
            }
        }
    } else if user.is_empty() || password.is_empty() || server.is_empty() {
        return Err(Error::usage(
            "either --from-file or the combination of --docker-username, --docker-password and --docker-server is required",
        ));
    } else {
        data.entries.insert(".dockerconfigjson".to_owned(), docker_config(given).into_bytes());
    }
    Ok(secret(given, name, "kubernetes.io/dockerconfigjson", &data.entries))
}

/// The configuration of Docker's client, its fields in that client's order.
fn docker_config(given: &Given) -> String {
    let (user, password) = (given.text(&USERNAME), given.text(&PASSWORD));
    let auth = BASE64_STANDARD.encode(format!("{user}:{password}"));
    let fields = [("username", user), ("password", password), ("email", given.text(&EMAIL)), ("auth", &auth)];
    let fields: Vec<String> = fields
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("\"{name}\":{}", json!(value)))
        .collect();
    format!("{{\"auths\":{{{}:{{{}}}}}}}", json!(given.text(&SERVER)), fields.join(","))
}

fn tls(given: &Given) -> Result<Value, Error> {
    let name = given.name()?;
    let (Some(cert), Some(key)) = (given.some(&CERT), given.some(&KEY)) else {
        return Err(Error::usage("key and cert must be specified"));
    };
    let read = |path: &str| {
        let failed = |error: std::io::Error| {
            Error::Usage(format!("Cannot read file {path}, open {path}: {}", sources::reason(&error)))
        };
        std::fs::read(path).map_err(failed)
    };
    let (cert, key) = (read(cert)?, read(key)?);
    for (what, text, label) in [("certificate", &cert, "CERTIFICATE-----"), ("key", &key, "PRIVATE KEY-----")]
    {
        if !String::from_utf8_lossy(text).contains(label) {
            return Err(Error::Usage(format!("tls: failed to find any PEM data in {what} input")));
        }
    }
    let entries = BTreeMap::from([("tls.crt".to_owned(), cert), ("tls.key".to_owned(), key)]);
    Ok(secret(given, name, "kubernetes.io/tls", &entries))
}

fn secret(given: &Given, name: &str, kind: &str, entries: &BTreeMap<String, Vec<u8>>) -> Value {
    let data: Map<String, Value> =
        entries.iter().map(|(key, value)| (key.clone(), json!(BASE64_STANDARD.encode(value)))).collect();
    let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    if given.is_on(&APPEND_HASH) {
        let content = if data.is_empty() { json!("") } else { json!(data) };
        let content = json!({"kind": "Secret", "type": kind, "name": name, "data": content});
        object["metadata"]["name"] = json!(format!("{name}-{}", sources::hash(&content)));
    }
    if !kind.is_empty() {
        object["type"] = json!(kind);
    }
    if !data.is_empty() {
        object["data"] = Value::Object(data);
    }
    object
}

fn check(there: &BTreeMap<String, Vec<u8>>, key: &str) -> Result<(), String> {
    if let Some(problem) = sources::key_problem(key) {
        return Err(format!("\"{key}\" is not valid key name for a Secret {problem}"));
    }
    if there.contains_key(key) {
        return Err(format!("cannot add key {key}, another key by that name already exists"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::made;
    use super::*;

    #[test]
    fn makes_what_kubectl_makes() {
        let text = "apiVersion: v1\ndata:\n  a: Yg==\nkind: Secret\nmetadata:\n  name: s-7fd2tm89d8\n";
        assert_eq!(made("secret generic s --from-literal=a=b --append-hash", generic), text);
        let text = "apiVersion: v1\ndata:\n  .dockerconfigjson: eyJhdXRocyI6eyJodHRwczovL2luZGV4LmRvY2tlci5pby92MS8iOnsidXNlcm5hbWUiOiJ1IiwicGFzc3dvcmQiOiJwIiwiZW1haWwiOiJlIiwiYXV0aCI6ImRUcHcifX19\nkind: Secret\nmetadata:\n  name: d\ntype: kubernetes.io/dockerconfigjson\n";
        assert_eq!(
            made(
                "secret docker-registry d --docker-username=u --docker-password=p --docker-email=e",
                registry
            ),
            text
        );
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(made("secret tls t --cert=x", tls), "error: key and cert must be specified");
        assert_eq!(
            made("secret tls t --cert=/nothere --key=y", tls),
            "error: Cannot read file /nothere, open /nothere: no such file or directory"
        );
        assert_eq!(
            made("secret docker-registry d --docker-username=u", registry),
            "error: either --from-file or the combination of --docker-username, --docker-password and --docker-server is required"
        );
        assert_eq!(
            made("secret generic s --from-literal=a=b --from-literal=a=c", generic),
            "error: cannot add key a, another key by that name already exists"
        );
    }
}
