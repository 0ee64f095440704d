//! VirtualServices.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    core::{ApiResource, DynamicObject},
};

use crate::{
    api::{VirtualService, VirtualServiceStatus, parse_virtual_service},
    cluster::{
        Change, Key, SourceName, Wanted,
        kind::{Kind, any_shape},
    },
    model::VsKey,
};

/// What the controller and the subcommands read of a VirtualService beside its spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    /// The API server's identity of the object.
    pub uid: String,
    /// Counts changes of the spec.
    pub generation: i64,
    /// Its present status; `None` if there is none or it cannot be parsed.
    pub status: Option<VirtualServiceStatus>,
    /// What Events refer to.
    pub reference: ObjectReference,
}

pub(super) fn kind(client: &Client, wanted: &Wanted) -> Kind<DynamicObject> {
    let details = wanted.details;
    Kind {
        name: SourceName::VirtualServices,
        api: any_shape::<VirtualService>(client),
        only: None,
        meaning: Box::new(move |object| changes(&object, details)),
        ends: Box::new(|object| {
            let namespace = object.metadata.namespace.unwrap_or_default();
            let name = object.metadata.name.unwrap_or_default();
            Some(Key::VirtualService(VsKey::new(&namespace, &name)))
        }),
    }
}

/// The changes that a VirtualService means. An error in its status does not affect its spec, nor the other way round.
pub fn changes(object: &DynamicObject, details: bool) -> Vec<Change> {
    let admitted = parse_virtual_service(object);
    if !details {
        return vec![Change::VirtualService(Box::new(admitted))];
    }
    let key = admitted.key.clone();
    let status = object.data.get("status").cloned();
    let status = serde_json::from_value::<Option<VirtualServiceStatus>>(status.unwrap_or_default());
    let problem = status
        .as_ref()
        .err()
        .map(|error| format!("status: {error}"));
    let beyond = Object {
        uid: admitted.uid.clone(),
        generation: admitted.generation,
        status: status.unwrap_or_default(),
        reference: ObjectReference {
            resource_version: None,
            ..object.object_ref(&ApiResource::erase::<VirtualService>(&()))
        },
    };
    let subject = Key::VirtualService(key.clone()).subject();
    vec![
        Change::VirtualService(Box::new(admitted)),
        Change::Object(key, Box::new(beyond)),
        Change::problem(
            SourceName::VirtualServices,
            subject,
            problem.unwrap_or_default(),
        ),
    ]
}
