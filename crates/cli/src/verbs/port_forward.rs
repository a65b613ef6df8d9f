//! `port-forward`: ports of this machine that lead to a pod.

use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::attach::pods;
use super::target;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::select::Selection;

const ADDRESS: Flag = Flag::list("address", "Addresses to listen at; localhost is 127.0.0.1 and ::1");

pub(crate) const COMMAND: Command = Command::new(
    "port-forward",
    "TYPE/NAME [options] [LOCAL_PORT:]REMOTE_PORT [...[LOCAL_PORT_N:]REMOTE_PORT_N]",
    "Lead ports of this machine to a pod",
)
.examples(
    "# Port 8080 here to port 80 of a pod of a Service
     kubectl port-forward service/kubia 8080:80",
)
.flags(&[&[ADDRESS]])
.run(|cx, given| Box::pin(run(cx, given)));

/// A port here and the port of the pod that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Forward {
    local: u16,
    remote: u16,
}

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let Some((word, ports)) = given.words.split_first().filter(|(_, ports)| !ports.is_empty()) else {
        return Err(given.misuse("TYPE/NAME and list of ports are required for port-forward"));
    };
    let pod = target::pod(cx, word).await?;
    if pod["status"]["phase"] != "Running" {
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        return Err(Error::Usage(format!(
            "unable to forward port because pod is not running. Current status={phase}"
        )));
    }
    let service = service(cx, word).await?;
    let mut work = Vec::new();
    for port in ports {
        let forward = forward(port, &pod, service.as_ref()).map_err(Error::Usage)?;
        for address in addresses(given) {
            match TcpListener::bind((address.as_str(), forward.local)).await {
                Ok(listener) => {
                    let local = listener.local_addr()?;
                    skiff_print::line(format_args!("Forwarding from {local} -> {}", forward.remote))?;
                    work.push((listener, forward));
                }
                // A machine without IPv6 has the other address.
                Err(_) if address == "::1" && !given.is_given(&ADDRESS) => {}
                Err(error) => {
                    return Err(Error::Usage(format!(
                        "unable to listen on port {}: {address}: {error}",
                        forward.local
                    )));
                }
            }
        }
    }
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let api = pods(cx).await?;
    let listen = work.into_iter().map(|(listener, forward)| serve(&api, &name, listener, forward));
    futures::future::try_join_all(listen).await?;
    Ok(Outcome::Done)
}

fn addresses(given: &Given) -> Vec<String> {
    let words = given.all(&ADDRESS);
    let localhost = ["127.0.0.1".to_owned(), "::1".to_owned()];
    if words.is_empty() {
        return localhost.to_vec();
    }
    let each = |word: &String| if word == "localhost" { localhost.to_vec() } else { vec![word.clone()] };
    words.iter().flat_map(each).collect()
}

/// The Service, when the word names one: its ports are not those of its pods.
async fn service(cx: &Context, word: &str) -> Result<Option<Value>, Error> {
    if !word.contains('/') {
        return Ok(None);
    }
    let found = Selection { words: vec![word.to_owned()], ..Selection::default() }.find(cx).await?;
    Ok(found.items.into_iter().find(|item| item.resource.kind == "Service").map(|item| item.object))
}

/// Reads `8080:80`, `8080`, `:80`, with names for the pod's port.
fn forward(text: &str, pod: &Value, service: Option<&Value>) -> Result<Forward, String> {
    let (local, remote) = text.split_once(':').unwrap_or((text, text));
    let remote = match service {
        Some(service) => of_service(remote, service)?,
        None => remote.to_owned(),
    };
    let number = match remote.parse() {
        Ok(number) => number,
        Err(_) => of_container(&remote, pod)?,
    };
    let local = match local {
        "" => 0,
        local if local == text && local.parse::<u16>().is_err() => number,
        local => local.parse().map_err(|_| {
            format!(
                "error parsing local port '{local}': strconv.ParseUint: parsing \"{local}\": invalid syntax"
            )
        })?,
    };
    Ok(Forward { local, remote: number })
}

fn of_service(port: &str, service: &Value) -> Result<String, String> {
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let same = |entry: &&Value| {
        entry["name"] == port || port.parse::<u64>().is_ok_and(|number| entry["port"] == number)
    };
    let found = ports.find(same).ok_or_else(|| {
        format!(
            "Service {} does not have a service port {port}",
            service["metadata"]["name"].as_str().unwrap_or_default()
        )
    })?;
    let target = &found["targetPort"];
    Ok(target.as_str().map_or_else(|| target.to_string(), str::to_owned))
}

fn of_container(name: &str, pod: &Value) -> Result<u16, String> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let mut ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let found = ports.find(|port| port["name"] == name).and_then(|port| port["containerPort"].as_u64());
    let found = found.and_then(|number| u16::try_from(number).ok());
    found.ok_or_else(|| {
        format!(
            "pod '{}' does not have a named port '{name}'",
            pod["metadata"]["name"].as_str().unwrap_or_default()
        )
    })
}

async fn serve(
    api: &kube::Api<k8s_openapi::api::core::v1::Pod>,
    pod: &str,
    listener: TcpListener,
    forward: Forward,
) -> Result<(), Error> {
    let local = listener.local_addr()?.port();
    loop {
        let (stream, _) = listener.accept().await?;
        skiff_print::line(format_args!("Handling connection for {local}"))?;
        let (api, pod) = (api.clone(), pod.to_owned());
        tokio::spawn(async move {
            if let Err(error) = connect(&api, &pod, stream, forward.remote).await {
                skiff_print::note(format_args!(
                    "error: an error occurred forwarding {local} -> {}: {error}",
                    forward.remote
                ));
            }
        });
    }
}

async fn connect(
    api: &kube::Api<k8s_openapi::api::core::v1::Pod>,
    pod: &str,
    mut stream: TcpStream,
    port: u16,
) -> Result<(), String> {
    let mut forwarder =
        api.portforward(pod, &[port]).await.map_err(|error| skiff_errors::error_text(&error))?;
    let failed = forwarder.take_error(port);
    let mut remote = forwarder.take_stream(port).ok_or("the server gave no stream")?;
    let copied = copy_bidirectional(&mut stream, &mut remote).await;
    drop(remote);
    if let Some(Some(error)) = match failed {
        Some(failed) => Some(failed.await),
        None => None,
    } {
        return Err(error);
    }
    copied.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_are_numbers_or_names() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}});
        let service =
            json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80, "targetPort": "http"}]}});
        let check = |text: &str, service: Option<&Value>, expected: Result<(u16, u16), &str>| {
            let expected = expected.map(|(local, remote)| Forward { local, remote }).map_err(str::to_owned);
            assert_eq!(forward(text, &pod, service), expected, "{text}");
        };
        check("7070:80", None, Ok((7070, 80)));
        check("80", None, Ok((80, 80)));
        check(":80", None, Ok((0, 80)));
        check("7070:http", None, Ok((7070, 8080)));
        check("7070:80", Some(&service), Ok((7070, 8080)));
        check("80", Some(&service), Ok((80, 8080)));
        check("81", Some(&service), Err("Service s does not have a service port 81"));
        check("7070:x", None, Err("pod 'p' does not have a named port 'x'"));
    }
}
