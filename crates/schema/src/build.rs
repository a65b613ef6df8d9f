//! Schemas made while running: of kinds that a CustomResourceDefinition adds.

use std::collections::HashMap;
use std::sync::Arc;

use super::{
    Definition, DefinitionId, Field, Kinds, ListKind, PatchRule, Root, Schema, Text, Type, TypeId, Zero,
};

/// Makes a [`Schema`] part by part.
#[derive(Debug, Default)]
pub struct Builder {
    schema: Schema,
    /// Where types of which nothing more is said are.
    plain: HashMap<Type, TypeId>,
    /// What was taken over from another schema, by its place there.
    taken: HashMap<DefinitionId, DefinitionId>,
}

impl Builder {
    /// The type of a map's values or a list's items, and how they are owned where they are lists or maps; none if
    /// there are too many types (65,536).
    pub fn inner(&mut self, ty: Type, list: Option<ListKind>) -> Option<TypeId> {
        if list.is_none()
            && let Some(id) = self.plain.get(&ty)
        {
            return Some(*id);
        }
        let id = TypeId(u16::try_from(self.schema.types.len()).ok()?);
        self.schema.types.push(ty);
        match list {
            Some(list) => drop(self.schema.nested.insert(id, list)),
            None => drop(self.plain.insert(ty, id)),
        }
        Some(id)
    }

    /// A definition; of fields of the same name the first counts. None if there are too many definitions (65,536).
    pub fn define(
        &mut self,
        name: impl Into<Text>,
        mut fields: Vec<Field>,
        atomic: bool,
        kinds: Kinds,
    ) -> Option<DefinitionId> {
        let id = DefinitionId(u16::try_from(self.schema.definitions.len()).ok()?);
        skiff_ordered::sort_by(&mut fields, |a, b| a.name.cmp(&b.name));
        fields.dedup_by(|later, first| later.name == first.name);
        self.schema.definitions.push(Definition {
            name: name.into(),
            fields: fields.into(),
            numbers: Box::default(),
            atomic,
            open: false,
            kinds,
            unions: Box::default(),
        });
        Some(id)
    }

    /// Lets objects have fields that the definition does not have.
    pub fn leave_open(&mut self, id: DefinitionId) {
        self.schema.definitions[usize::from(id.0)].open = true;
    }

    /// Takes over a definition of another schema with all that it refers to. Always the same one for a builder.
    pub fn take(&mut self, other: &Schema, id: DefinitionId) -> Option<DefinitionId> {
        if let Some(known) = self.taken.get(&id) {
            return Some(*known);
        }
        let definition = other.get(id);
        let place =
            self.define(definition.name.clone(), Vec::new(), definition.atomic, definition.kinds.clone())?;
        self.taken.insert(id, place);
        let mut fields = definition.fields.clone();
        for field in &mut fields {
            field.ty = self.take_type(other, field.ty)?;
        }
        let new = &mut self.schema.definitions[usize::from(place.0)];
        new.fields = fields;
        new.numbers = definition.numbers.clone();
        new.unions = definition.unions.clone();
        new.open = definition.open;
        Some(place)
    }

    fn take_type(&mut self, other: &Schema, ty: Type) -> Option<Type> {
        let mut inner = |id| {
            let ty = self.take_type(other, other.inner(id))?;
            self.inner(ty, other.nested.get(&id).cloned())
        };
        Some(match ty {
            Type::List(id) => Type::List(inner(id)?),
            Type::Map(id) => Type::Map(inner(id)?),
            Type::Object(id) => Type::Object(self.take(other, id)?),
            scalar => scalar,
        })
    }

    /// The schema, seen from one of its definitions; what is not in it is looked for in `common`.
    pub fn finish(self, root: DefinitionId, common: Option<Arc<Schema>>) -> Root {
        let mut schema = self.schema;
        schema.common = common;
        // Definitions are found by name, so they are put in that order, and what refers to them follows.
        let mut order: Vec<usize> = (0..schema.definitions.len()).collect();
        skiff_ordered::sort_by(&mut order, |a, b| {
            schema.definitions[*a].name.cmp(&schema.definitions[*b].name)
        });
        let mut places = vec![DefinitionId(0); order.len()];
        for (place, at) in (0..).zip(&order) {
            places[*at] = DefinitionId(place);
        }
        let moved = |ty: &mut Type| {
            if let Type::Object(id) = ty {
                *id = places[usize::from(id.0)];
            }
        };
        schema.types.iter_mut().for_each(moved);
        let fields = schema.definitions.iter_mut().flat_map(|definition| &mut definition.fields);
        fields.for_each(|field| moved(&mut field.ty));
        skiff_ordered::sort_by(&mut schema.definitions, |a, b| a.name.cmp(&b.name));
        Root { id: places[usize::from(root.0)], schema: Arc::new(schema) }
    }
}

impl Field {
    /// A field whose zero is a value like others, and of which nothing more is said.
    pub fn new(name: impl Into<Text>, ty: Type) -> Self {
        Self {
            name: name.into(),
            ty,
            required: false,
            zero: Zero::Value,
            patch: PatchRule::default(),
            list: if matches!(ty, Type::Map(_)) { ListKind::Granular } else { ListKind::Atomic },
            list_stated: false,
            default: None,
            wrapped: false,
            rank: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_made_part_by_part() {
        let kubernetes = Schema::kubernetes();
        let mut builder = Builder::default();
        let meta = kubernetes.find("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").unwrap();
        let meta = builder.take(&kubernetes, meta).unwrap();
        let text = builder.inner(Type::String, None).unwrap();
        let set = builder.inner(Type::List(text), Some(ListKind::Set)).unwrap();
        let plain = builder.inner(Type::List(text), None).unwrap();
        let spec = builder
            .define(
                "z.Spec",
                vec![Field::new("b", Type::Map(set)), Field::new("a", Type::List(plain))],
                true,
                Kinds::None,
            )
            .unwrap();
        builder.leave_open(spec);
        let fields = vec![Field::new("spec", Type::Object(spec)), Field::new("metadata", Type::Object(meta))];
        let kinds = Kinds::Of(Box::new([["g".into(), "v1".into(), "K".into()]]));
        let root = builder.define("a.K", fields, false, kinds).unwrap();
        let root = builder.finish(root, None);

        assert_eq!(root.name(), "a.K");
        assert_eq!(root.of_kind("g", "v1", "K"), Some(root.clone()));
        let schema = root.schema();
        let at = |path: &[&str]| schema.at(root.ty(), path.iter().copied());
        assert_eq!(at(&["spec", "a", "x"]), None);
        assert_eq!(at(&["metadata", "ownerReferences", "controller"]), Some(Type::Bool));
        assert_eq!(at(&["metadata", "managedFields", "time"]), Some(Type::Time));
        let spec = schema.definition("z.Spec").unwrap();
        assert!(spec.atomic && spec.open && !schema.definition("a.K").unwrap().open);
        let lists = |name: &str| match spec.field(name).unwrap().ty {
            Type::Map(inner) | Type::List(inner) => schema.inner_list(inner).clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!((lists("a"), lists("b")), (ListKind::Atomic, ListKind::Set));
    }
}
