//! Templates of pods, and containers.

use std::fmt::Write;

use serde_json::Value;

/// The template as text whose columns are not set.
pub(in crate::verbs) fn pod_template(template: &Value) -> String {
    let mut text = Text::default();
    text.template(template);
    text.0
}

/// Text in the making; each part of an object adds its lines.
#[derive(Debug, Default)]
pub(super) struct Text(pub(super) String);

/// Two spaces for each level.
const LEVELS: [&str; 4] = ["", "  ", "    ", "      "];

pub(super) fn str_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Text {
    pub(super) fn line(&mut self, level: usize, text: impl std::fmt::Display) {
        writeln!(self.0, "{}{text}", LEVELS[level.min(3)]).expect("a string takes what is written");
    }

    pub(super) fn field(&mut self, level: usize, name: &str, value: impl std::fmt::Display) {
        self.line(level, format_args!("{name}:\t{value}"));
    }

    /// `KEY=VALUE` of each entry, one below the other.
    pub(super) fn labels(&mut self, title: &str, labels: &Value) {
        let mut pairs =
            labels.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", str_of(value)));
        self.field(0, title, pairs.next().unwrap_or_else(|| "<none>".to_owned()));
        pairs.for_each(|pair| self.line(0, format_args!("\t{pair}")));
    }

    pub(super) fn annotations(&mut self, title: &str, annotations: &Value) {
        const LONGEST: usize = 140;
        let hidden = "kubectl.kubernetes.io/last-applied-configuration";
        let entries = annotations.as_object().into_iter().flatten().filter(|(key, _)| *key != hidden);
        let mut before = format!("{title}:\t");
        for (key, value) in entries {
            let value = str_of(value).trim_end_matches('\n');
            if value.len() + key.len() + 2 > LONGEST || value.contains('\n') {
                self.line(0, format_args!("{before}{key}:"));
                for line in value.split('\n') {
                    let end = line.char_indices().nth(LONGEST - 2).map_or(line.len(), |(at, _)| at);
                    let rest = if end < line.len() { "..." } else { "" };
                    self.line(0, format_args!("\t  {}{rest}", &line[..end]));
                }
            } else {
                self.line(0, format_args!("{before}{key}: {value}"));
            }
            before = "\t".to_owned();
        }
        if before != "\t" {
            self.field(0, title, "<none>");
        }
    }

    pub(super) fn template(&mut self, template: &Value) {
        let (metadata, spec) = (&template["metadata"], &template["spec"]);
        self.line(0, "Pod Template:");
        self.labels("  Labels", &metadata["labels"]);
        if metadata["annotations"].as_object().is_some_and(|all| !all.is_empty()) {
            self.annotations("  Annotations", &metadata["annotations"]);
        }
        if !str_of(&spec["serviceAccountName"]).is_empty() {
            self.field(1, "Service Account", str_of(&spec["serviceAccountName"]));
        }
        if !items(&spec["initContainers"]).is_empty() {
            self.containers("Init Containers", &spec["initContainers"], &Value::Null, true);
        }
        self.containers("Containers", &spec["containers"], &Value::Null, true);
        self.volumes(&spec["volumes"], true);
        self.spread(&spec["topologySpreadConstraints"], true);
        if !str_of(&spec["priorityClassName"]).is_empty() {
            self.field(1, "Priority Class Name", str_of(&spec["priorityClassName"]));
        }
        self.labels("  Node-Selectors", &spec["nodeSelector"]);
        self.tolerations("  Tolerations", &spec["tolerations"]);
    }

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
        mounts.sort_by_key(|mount| str_of(&mount["mountPath"]));
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

    pub(super) fn volumes(&mut self, volumes: &Value, inner: bool) {
        let (indent, name_indent) = if inner { ("  ", " ") } else { ("", "") };
        if items(volumes).is_empty() {
            self.line(0, format_args!("{indent}Volumes:\t<none>"));
            return;
        }
        self.line(0, format_args!("{indent}Volumes:"));
        for volume in items(volumes) {
            self.line(1, format_args!("{name_indent}{}:", str_of(&volume["name"])));
            let source = volume.as_object().into_iter().flatten().find(|(field, _)| *field != "name");
            match source {
                Some((kind, source)) => self.volume(kind, source),
                None => self.line(1, "<unknown>"),
            }
        }
    }

    fn volume(&mut self, kind: &str, source: &Value) {
        let optional = source["optional"] == true;
        match kind {
            "hostPath" => {
                self.field(2, "Type", "HostPath (bare host directory volume)");
                self.field(2, "Path", str_of(&source["path"]));
                self.field(2, "HostPathType", source["type"].as_str().unwrap_or("<none>"));
            }
            "emptyDir" => {
                self.field(2, "Type", "EmptyDir (a temporary directory that shares a pod's lifetime)");
                self.field(2, "Medium", str_of(&source["medium"]));
                let limit = &source["sizeLimit"];
                self.field(
                    2,
                    "SizeLimit",
                    if limit.is_null() { "<unset>".to_owned() } else { scalar(limit) },
                );
            }
            "secret" => {
                self.field(2, "Type", "Secret (a volume populated by a Secret)");
                self.field(2, "SecretName", str_of(&source["secretName"]));
                self.field(2, "Optional", optional);
            }
            "configMap" => {
                self.field(2, "Type", "ConfigMap (a volume populated by a ConfigMap)");
                self.field(2, "Name", str_of(&source["name"]));
                self.field(2, "Optional", optional);
            }
            "persistentVolumeClaim" => {
                let what =
                    "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)";
                self.field(2, "Type", what);
                self.field(2, "ClaimName", str_of(&source["claimName"]));
                self.field(2, "ReadOnly", source["readOnly"] == true);
            }
            "downwardAPI" => {
                self.field(2, "Type", "DownwardAPI (a volume populated by information about the pod)");
                self.line(2, "Items:");
                for item in items(&source["items"]) {
                    let from = item["fieldRef"]["fieldPath"]
                        .as_str()
                        .or(item["resourceFieldRef"]["resource"].as_str());
                    self.line(3, format_args!("{} -> {}", from.unwrap_or_default(), str_of(&item["path"])));
                }
            }
            "projected" => self.projected(&source["sources"]),
            "image" => {
                self.field(2, "Type", "Image (a container image or OCI artifact)");
                self.field(2, "Reference", str_of(&source["reference"]));
                self.field(2, "PullPolicy", str_of(&source["pullPolicy"]));
            }
            other => self.field(2, "Type", other),
        }
    }

    fn projected(&mut self, sources: &Value) {
        self.field(2, "Type", "Projected (a volume that contains injected data from multiple sources)");
        for source in items(sources) {
            if source["secret"].is_object() {
                self.field(2, "SecretName", str_of(&source["secret"]["name"]));
                self.field(2, "Optional", source["secret"]["optional"] == true);
            } else if source["downwardAPI"].is_object() {
                self.field(2, "DownwardAPI", true);
            } else if source["configMap"].is_object() {
                self.field(2, "ConfigMapName", str_of(&source["configMap"]["name"]));
                self.field(2, "Optional", source["configMap"]["optional"] == true);
            } else if source["serviceAccountToken"].is_object() {
                let seconds = &source["serviceAccountToken"]["expirationSeconds"];
                self.field(2, "TokenExpirationSeconds", scalar(seconds));
            }
        }
    }

    pub(super) fn spread(&mut self, constraints: &Value, inner: bool) {
        let mut constraints: Vec<&Value> = items(constraints).iter().collect();
        constraints.sort_by_key(|constraint| str_of(&constraint["topologyKey"]));
        let indent = if inner { "  " } else { "" };
        for (number, constraint) in constraints.into_iter().enumerate() {
            let before = if number == 0 {
                format!("{indent}Topology Spread Constraints:\t")
            } else {
                format!("{indent}\t")
            };
            let (key, action) =
                (str_of(&constraint["topologyKey"]), str_of(&constraint["whenUnsatisfiable"]));
            let mut line = format!(
                "{before}{key}:{action} when max skew {} is exceeded",
                scalar(&constraint["maxSkew"])
            );
            if constraint["labelSelector"].is_object() {
                line.push_str(&format!(
                    " for selector {}",
                    crate::selector::text(&constraint["labelSelector"])
                ));
            }
            self.line(0, line);
        }
    }

    pub(super) fn tolerations(&mut self, title: &str, tolerations: &Value) {
        let mut tolerations: Vec<&Value> = items(tolerations).iter().collect();
        tolerations.sort_by_key(|toleration| str_of(&toleration["key"]));
        if tolerations.is_empty() {
            self.field(0, title, "<none>");
        }
        for (number, toleration) in tolerations.into_iter().enumerate() {
            let before = if number == 0 { format!("{title}:\t") } else { "\t".to_owned() };
            self.line(0, format_args!("{before}{}", tolerated(toleration)));
        }
    }
}

fn tolerated(toleration: &Value) -> String {
    let (key, value, effect) =
        (str_of(&toleration["key"]), str_of(&toleration["value"]), str_of(&toleration["effect"]));
    let mut text = key.to_owned();
    if !value.is_empty() {
        text.push_str(&format!("={value}"));
    }
    if !effect.is_empty() {
        text.push_str(&format!(":{effect}"));
    }
    if toleration["operator"] == "Exists" && value.is_empty() {
        text.push_str(if text.is_empty() { "op=Exists" } else { " op=Exists" });
    }
    if let Some(seconds) = toleration["tolerationSeconds"].as_i64() {
        text.push_str(&format!(" for {seconds}s"));
    }
    text
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

/// `Mon, 02 Jan 2006 15:04:05 +0000`.
pub(super) fn rfc1123(time: &str) -> String {
    match time.parse::<k8s_openapi::jiff::Timestamp>() {
        Ok(time) => {
            let zoned = time.to_zoned(k8s_openapi::jiff::tz::TimeZone::system());
            zoned.strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
        }
        Err(_) => "Mon, 01 Jan 0001 00:00:00 +0000".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_are_told_as_kubectl_tells_them() {
        let template = json!({
            "metadata": {"labels": {"app": "web", "pod-template-hash": "fdb4679dc"}},
            "spec": {"containers": [{"name": "kubia", "image": "luksa/kubia", "env": [{"name": "A", "value": "b"}]}]},
        });
        let text = "Pod Template:\n  Labels:\tapp=web\n\tpod-template-hash=fdb4679dc\n  Containers:\n   kubia:\n    Image:\tluksa/kubia\n    Port:\t<none>\n    Host Port:\t<none>\n    Environment:\n      A:\tb\n    Mounts:\t<none>\n  Volumes:\t<none>\n  Node-Selectors:\t<none>\n  Tolerations:\t<none>\n";
        assert_eq!(pod_template(&template), text);
    }

    #[test]
    fn probes_and_tolerations() {
        let get = json!({"httpGet": {"path": "/health", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 2, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3});
        assert_eq!(
            probe(&get),
            "http-get http://:8080/health delay=0s timeout=2s period=10s #success=1 #failure=3"
        );
        let toleration =
            json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
        assert_eq!(tolerated(&toleration), "a:NoExecute op=Exists for 300s");
        assert_eq!(tolerated(&json!({"operator": "Exists"})), "op=Exists");
    }
}
