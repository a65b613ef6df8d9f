//! What Go's messages call fields where their definition does not tell, from a table of their own (`go.txt`).
//!
//! It is read only for messages, so it stays text. A line with the full name of a definition is followed by those of its fields, each
//! ` FIELD TYPE [INSIDE]`: the type as Go prints it, `-` where that is as for any field of its kind, and the structs without a name
//! of their own that lead to it.

const TABLE: &str = include_str!("go.txt");

/// What Go calls a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoField {
    /// Its type, e.g. `v1.Protocol`, if that has a name of its own.
    pub ty: Option<&'static str>,
    /// The structs in the definition's struct that it is in, e.g. `RuleWithOperations.Rule`.
    pub inside: Option<&'static str>,
}

/// What Go calls a field of a definition, by its full name.
pub fn go_field(definition: &str, field: &str) -> GoField {
    let mut lines = TABLE.lines().skip_while(|line| *line != definition).skip(1);
    let of_field = |line: &&str| line[1..].split(' ').next() == Some(field);
    let line = lines.by_ref().take_while(|line| line.starts_with(' ')).find(of_field);
    let mut words = line.unwrap_or_default().split(' ').skip(2);
    GoField { ty: words.next().filter(|word| *word != "-"), inside: words.next() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_names_of_their_types_and_structs() {
        let check =
            |definition: &str, field: &str, ty: Option<&'static str>, inside: Option<&'static str>| {
                assert_eq!(go_field(definition, field), GoField { ty, inside }, "{definition}.{field}");
            };
        check("io.k8s.api.core.v1.ContainerPort", "protocol", Some("v1.Protocol"), None);
        check("io.k8s.api.core.v1.ContainerPort", "containerPort", None, None);
        check("io.k8s.api.core.v1.ResourceRequirements", "limits", Some("v1.ResourceList"), None);
        check("io.k8s.api.core.v1.Volume", "hostPath", None, Some("VolumeSource"));
        check(
            "io.k8s.api.admissionregistration.v1.NamedRuleWithOperations",
            "scope",
            Some("v1.ScopeType"),
            Some("RuleWithOperations.Rule"),
        );
        check("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "uid", Some("types.UID"), None);
        check("none", "x", None, None);
    }

    #[test]
    fn the_table_is_of_known_fields() {
        let schema = crate::Schema::kubernetes();
        let mut definition = None;
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            match line.strip_prefix(' ') {
                None => definition = Some(schema.definition(line).unwrap_or_else(|| panic!("no {line}"))),
                Some(field) => {
                    let name = field.split(' ').next().unwrap();
                    assert!(definition.unwrap().field(name).is_some(), "{line}");
                }
            }
        }
    }
}
