//! Checks of probes and lifecycle handlers.

use k8s_openapi::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
};

use crate::shared::check::{self, not_negative, port_or_name};
use skiff_machinery::{FieldError, FieldErrors};

/// What a container is in its pod.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Runs as long as the pod.
    App,
    /// Runs to its end before the app containers start.
    Init,
    /// An init container that is kept running.
    Sidecar,
}

/// Checks probes and lifecycle handlers of a container at `path`.
pub(super) fn container(path: &str, container: &Container, role: Role, grace: i64) -> FieldErrors {
    let probes = [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    let mut errors = FieldErrors::new();
    let not_here = "may not be set for init containers without restartPolicy=Always";
    if role == Role::Init && container.lifecycle.is_some() {
        errors.push(FieldError::forbidden(format!("{path}.lifecycle"), not_here));
    } else if let Some(lifecycle) = &container.lifecycle {
        let handlers = [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)];
        for (name, handler) in handlers {
            let path = format!("{path}.lifecycle.{name}");
            errors.extend(handler.iter().flat_map(|handler| lifecycle_handler(&path, handler, grace)));
        }
    }
    for (name, probe) in probes {
        let path = format!("{path}.{name}");
        match probe {
            Some(_) if role == Role::Init => errors.push(FieldError::forbidden(path, not_here)),
            Some(probe) => errors.extend(self::probe(&path, name, probe)),
            None => {}
        }
    }
    errors
}

fn probe(path: &str, name: &str, probe: &Probe) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = handlers(
        path,
        Handlers {
            exec: probe.exec.as_ref(),
            http: probe.http_get.as_ref(),
            tcp: probe.tcp_socket.as_ref(),
            grpc: probe.grpc.as_ref(),
            sleep: false,
        },
    );
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (field, number) in numbers {
        errors.extend(not_negative(&at(field), number.unwrap_or(0).into()));
    }
    let grace = at("terminationGracePeriodSeconds");
    if let Some(seconds) = probe.termination_grace_period_seconds {
        if seconds <= 0 {
            errors.push(FieldError::invalid(grace.as_str(), seconds, "must be greater than 0"));
        }
        if name == "readinessProbe" {
            errors.push(FieldError::invalid(grace, seconds, "must not be set for readinessProbes"));
        }
    }
    let threshold = probe.success_threshold.unwrap_or(1);
    if name != "readinessProbe" && threshold != 1 {
        errors.push(FieldError::invalid(at("successThreshold"), threshold, "must be 1"));
    }
    errors
}

/// A handler may sleep no longer than containers have to end, `grace` seconds.
fn lifecycle_handler(path: &str, handler: &LifecycleHandler, grace: i64) -> FieldErrors {
    let mut errors = handlers(
        path,
        Handlers {
            exec: handler.exec.as_ref(),
            http: handler.http_get.as_ref(),
            tcp: handler.tcp_socket.as_ref(),
            grpc: None,
            sleep: handler.sleep.is_some(),
        },
    );
    let alone = handler.exec.is_none() && handler.http_get.is_none() && handler.tcp_socket.is_none();
    if let Some(sleep) = handler.sleep.as_ref().filter(|_| alone)
        && !(0..=grace).contains(&sleep.seconds)
    {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.push(FieldError::invalid(format!("{path}.sleep"), sleep.seconds, detail));
    }
    errors
}

/// The ways to ask or tell a container something, of which exactly one is wanted.
struct Handlers<'a> {
    exec: Option<&'a ExecAction>,
    http: Option<&'a HTTPGetAction>,
    tcp: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: bool,
}

fn handlers(path: &str, given: Handlers<'_>) -> FieldErrors {
    let present = [
        ("exec", given.exec.is_some()),
        ("httpGet", given.http.is_some()),
        ("tcpSocket", given.tcp.is_some()),
        ("grpc", given.grpc.is_some()),
        ("sleep", given.sleep),
    ];
    let mut present = present.into_iter().filter(|(_, present)| *present).map(|(name, _)| name);
    let Some(first) = present.next() else {
        return [FieldError::required(path, "must specify a handler type")].into();
    };
    let at = |name: &str| format!("{path}.{name}");
    let mut errors = match (first, given) {
        ("exec", Handlers { exec: Some(exec), .. }) => command(&at("exec"), exec),
        ("httpGet", Handlers { http: Some(http), .. }) => http_get(&at("httpGet"), http),
        ("tcpSocket", Handlers { tcp: Some(tcp), .. }) => port_or_name(&at("tcpSocket.port"), &tcp.port),
        ("grpc", Handlers { grpc: Some(grpc), .. }) => check::port(&at("grpc.port"), grpc.port.into()),
        _ => FieldErrors::new(),
    };
    errors.extend(
        present.map(|name| FieldError::forbidden(at(name), "may not specify more than 1 handler type")),
    );
    errors
}

fn command(path: &str, exec: &ExecAction) -> FieldErrors {
    if exec.command.as_ref().is_none_or(Vec::is_empty) {
        return [FieldError::required(format!("{path}.command"), "")].into();
    }
    FieldErrors::new()
}

fn http_get(path: &str, http: &HTTPGetAction) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if http.path.as_ref().is_none_or(String::is_empty) {
        errors.push(FieldError::required(format!("{path}.path"), ""));
    }
    errors.extend(port_or_name(&format!("{path}.port"), &http.port));
    let scheme = http.scheme.as_deref().or(Some(""));
    errors.extend(check::one_of_optional(&format!("{path}.scheme"), scheme, &["HTTP", "HTTPS"]));
    for header in http.http_headers.iter().flatten() {
        let token = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if header.name.is_empty() || !header.name.bytes().all(token) {
            let detail = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. \
                          'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
            errors.push(FieldError::invalid(format!("{path}.httpHeaders"), header.name.as_str(), detail));
        }
    }
    errors
}
