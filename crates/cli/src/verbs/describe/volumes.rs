//! Volumes of pods.

use serde_json::Value;

use super::text::{Text, items, scalar, str_of};

impl Text {
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
}
