//! Containers, with what runs in them.

use serde_json::Value;

use super::text::{Text, items, rfc1123, scalar, str_of};

impl Text {
    /// `inner`: inside of a template, one level deeper.
    pub(super) fn containers(&mut self, title: &str, containers: &Value, statuses: &Value, inner: bool) {
        let (indent, name_indent) = if inner { ("  ", " ") } else { ("", "") };
        let none = if items(containers).is_empty() { " <none>" } else { "" };
        self.line(0, format_args!("{indent}{title}:{none}"));
        for container in items(containers) {
            let status = items(statuses).iter().find(|status| status["name"] == container["name"]);
            self.line(1, format_args!("{name_indent}{}:", str_of(&container["name"])));
            self.basics(container, status);
            self.command(container);
            if let Some(status) = status {
                self.state("State", &status["state"]);
                if status["lastState"]["terminated"].is_object() {
                    self.state("Last State", &status["lastState"]);
                }
                self.field(2, "Ready", if status["ready"] == true { "True" } else { "False" });
                self.field(2, "Restart Count", status["restartCount"].as_i64().unwrap_or(0));
            }
            self.resources(2, &container["resources"]);
            for (name, field) in
                [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
            {
                if container[field].is_object() {
                    self.field(2, name, probe(&container[field]));
                }
            }
            self.environment(container);
            self.mounts(&container["volumeMounts"]);
        }
    }

    fn basics(&mut self, container: &Value, status: Option<&Value>) {
        if let Some(status) = status {
            self.field(2, "Container ID", str_of(&status["containerID"]));
        }
        self.field(2, "Image", str_of(&container["image"]));
        if let Some(status) = status {
            self.field(2, "Image ID", str_of(&status["imageID"]));
        }
        for (one, many, field) in
            [("Port", "Ports", "containerPort"), ("Host Port", "Host Ports", "hostPort")]
        {
            let ports: Vec<String> = items(&container["ports"])
                .iter()
                .map(|port| {
                    let number = port[field].as_i64().unwrap_or(0);
                    let name = match port["name"].as_str() {
                        Some(name) => format!(" ({name})"),
                        None => String::new(),
                    };
                    format!("{number}/{}{name}", str_of(&port["protocol"]))
                })
                .collect();
            match ports.len() {
                0 => self.field(2, one, "<none>"),
                1 => self.field(2, one, &ports[0]),
                _ => self.field(2, many, ports.join(", ")),
            }
        }
        let seccomp = &container["securityContext"]["seccompProfile"];
        if seccomp.is_object() {
            self.field(2, "SeccompProfile", str_of(&seccomp["type"]));
            if seccomp["type"] == "Localhost" {
                self.field(3, "LocalhostProfile", str_of(&seccomp["localhostProfile"]));
            }
        }
    }

    fn command(&mut self, container: &Value) {
        for (title, field) in [("Command", "command"), ("Args", "args")] {
            if items(&container[field]).is_empty() {
                continue;
            }
            self.line(2, format_args!("{title}:"));
            for word in items(&container[field]) {
                str_of(word).split('\n').for_each(|line| self.line(3, line));
            }
        }
    }

    fn state(&mut self, name: &str, state: &Value) {
        let time = |value: &Value| rfc1123(str_of(value));
        if state["running"].is_object() {
            self.field(2, name, "Running");
            self.field(3, "Started", time(&state["running"]["startedAt"]));
        } else if state["terminated"].is_object() {
            let ended = &state["terminated"];
            self.field(2, name, "Terminated");
            for (title, field) in [("Reason", "reason"), ("Message", "message")] {
                if !str_of(&ended[field]).is_empty() {
                    self.field(3, title, str_of(&ended[field]));
                }
            }
            self.field(3, "Exit Code", ended["exitCode"].as_i64().unwrap_or(0));
            if let Some(signal) = ended["signal"].as_i64().filter(|signal| *signal > 0) {
                self.field(3, "Signal", signal);
            }
            self.field(3, "Started", time(&ended["startedAt"]));
            self.field(3, "Finished", time(&ended["finishedAt"]));
        } else {
            self.field(2, name, "Waiting");
            if !str_of(&state["waiting"]["reason"]).is_empty() {
                self.field(3, "Reason", str_of(&state["waiting"]["reason"]));
            }
        }
    }

    pub(super) fn resources(&mut self, level: usize, resources: &Value) {
        for (title, field) in [("Limits", "limits"), ("Requests", "requests")] {
            let amounts = resources[field].as_object().filter(|amounts| !amounts.is_empty());
            let Some(amounts) = amounts else { continue };
            self.line(level, format_args!("{title}:"));
            amounts.iter().for_each(|(name, amount)| self.field(level + 1, name, scalar(amount)));
        }
    }

    fn environment(&mut self, container: &Value) {
        let optional = |value: &Value| value["optional"] == true;
        if !items(&container["envFrom"]).is_empty() {
            self.line(2, "Environment Variables from:");
        }
        for source in items(&container["envFrom"]) {
            let (kind, from) = match source["configMapRef"].is_object() {
                true => ("ConfigMap", &source["configMapRef"]),
                false => ("Secret", &source["secretRef"]),
            };
            let prefix = match str_of(&source["prefix"]) {
                "" => String::new(),
                prefix => format!(" with prefix '{prefix}'"),
            };
            let name = str_of(&from["name"]);
            self.line(3, format_args!("{name}\t{kind}{prefix}\tOptional: {}", optional(from)));
        }
        let none = if items(&container["env"]).is_empty() { "\t<none>" } else { "" };
        self.line(2, format_args!("Environment:{none}"));
        for variable in items(&container["env"]) {
            let name = str_of(&variable["name"]);
            let from = &variable["valueFrom"];
            if from.is_null() {
                let mut lines = str_of(&variable["value"]).split('\n');
                self.field(3, name, lines.next().unwrap_or_default());
                lines.for_each(|line| self.line(3, format_args!("\t{line}")));
            } else if from["fieldRef"].is_object() {
                let field = &from["fieldRef"];
                self.field(
                    3,
                    name,
                    format_args!(" ({}:{})", str_of(&field["apiVersion"]), str_of(&field["fieldPath"])),
                );
            } else if from["resourceFieldRef"].is_object() {
                self.field(3, name, format_args!(" ({})", str_of(&from["resourceFieldRef"]["resource"])));
            } else if from["secretKeyRef"].is_object() {
                let key = &from["secretKeyRef"];
                let place = format!(
                    "<set to the key '{}' in secret '{}'>",
                    str_of(&key["key"]),
                    str_of(&key["name"])
                );
                self.field(3, name, format_args!("{place}\tOptional: {}", optional(key)));
            } else if from["configMapKeyRef"].is_object() {
                let key = &from["configMapKeyRef"];
                let place = format!(
                    "<set to the key '{}' of config map '{}'>",
                    str_of(&key["key"]),
                    str_of(&key["name"])
                );
                self.field(3, name, format_args!("{place}\tOptional: {}", optional(key)));
            }
        }
    }

    fn mounts(&mut self, mounts: &Value) {
        let none = if items(mounts).is_empty() { "\t<none>" } else { "" };
        self.line(2, format_args!("Mounts:{none}"));
        let mut mounts: Vec<&Value> = items(mounts).iter().collect();
        skiff_ordered::sort_by_key(&mut mounts, |mount| str_of(&mount["mountPath"]));
        for mount in mounts {
            let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
            let path = match str_of(&mount["subPath"]) {
                "" => String::new(),
                path => format!(",path=\"{path}\""),
            };
            self.line(
                3,
                format_args!(
                    "{} from {} ({mode}{path})",
                    str_of(&mount["mountPath"]),
                    str_of(&mount["name"])
                ),
            );
        }
    }
}

fn probe(probe: &Value) -> String {
    let number = |field: &str| probe[field].as_i64().unwrap_or(0);
    let attributes = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds"),
        number("timeoutSeconds"),
        number("periodSeconds"),
        number("successThreshold"),
        number("failureThreshold")
    );
    if probe["exec"].is_object() {
        let words: Vec<&str> = items(&probe["exec"]["command"]).iter().map(str_of).collect();
        return format!("exec [{}] {attributes}", words.join(" "));
    }
    if probe["httpGet"].is_object() {
        let get = &probe["httpGet"];
        let scheme = str_of(&get["scheme"]).to_lowercase();
        let path = str_of(&get["path"]);
        let slash = if path.starts_with('/') || path.is_empty() { "" } else { "/" };
        return format!(
            "http-get {scheme}://{}:{}{slash}{path} {attributes}",
            str_of(&get["host"]),
            scalar(&get["port"])
        );
    }
    if probe["tcpSocket"].is_object() {
        let socket = &probe["tcpSocket"];
        return format!("tcp-socket {}:{} {attributes}", str_of(&socket["host"]), scalar(&socket["port"]));
    }
    if probe["grpc"].is_object() {
        let grpc = &probe["grpc"];
        return format!("grpc <pod>:{} {} {attributes}", scalar(&grpc["port"]), str_of(&grpc["service"]));
    }
    format!("unknown {attributes}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn probes_are_told_in_a_line() {
        let get = json!({"httpGet": {"path": "/health", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 2, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3});
        assert_eq!(
            probe(&get),
            "http-get http://:8080/health delay=0s timeout=2s period=10s #success=1 #failure=3"
        );
    }
}
