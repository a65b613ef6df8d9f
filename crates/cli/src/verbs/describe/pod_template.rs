//! Templates of pods, and where pods run.

use serde_json::Value;

use super::text::{Text, items, scalar, str_of};

/// The template as text whose columns are not set.
pub(in crate::verbs) fn pod_template(template: &Value) -> String {
    let mut text = Text::default();
    text.template(template);
    text.0
}

impl Text {
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

    pub(super) fn spread(&mut self, constraints: &Value, inner: bool) {
        let mut constraints: Vec<&Value> = items(constraints).iter().collect();
        skiff_ordered::sort_by_key(&mut constraints, |constraint| str_of(&constraint["topologyKey"]));
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
        skiff_ordered::sort_by_key(&mut tolerations, |toleration| str_of(&toleration["key"]));
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
    fn tolerations_are_told_in_a_line() {
        let toleration =
            json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
        assert_eq!(tolerated(&toleration), "a:NoExecute op=Exists for 300s");
        assert_eq!(tolerated(&json!({"operator": "Exists"})), "op=Exists");
    }
}
