//! Whether an API does what its description shows: each example is sent, and each answer is held against its schema.

use boon::{Compiler, Schemas};
use serde_json::{Value, json};

use crate::access::{Doors, Operation, Who};

/// What the schema is called while it is used.
const NAME: &str = "http://localhost/schema.json";

impl Doors<'_> {
    /// Sends each operation as somebody who may, one after the other, with the example of its body that the description
    /// has; nobody else's body is sent. What is answered is the status that is listed, is described, and fits the schema.
    ///
    /// # Panics
    /// If an operation takes a body and has no example, or does not do what is described.
    pub async fn do_as_they_show(&self, operations: &[Operation]) {
        let description = self.description().await;
        let mut shown = 0;
        for operation in operations.iter().filter(|operation| operation.who != Who::Signer) {
            let Operation { method, route, status, .. } = operation;
            let what = format!("{method} {route}");
            let described = &description["paths"][route][method.as_str().to_lowercase()];
            let body = example(described).unwrap_or_default();
            assert_eq!(body.is_empty(), described.get("requestBody").is_none(), "{what} has an example of its body");
            shown += usize::from(!body.is_empty());
            let asked = Operation { body, ..operation.clone() };
            let (answered, body) = self.call(&asked, self.token_of(asked.who).as_deref()).await;
            assert_eq!(answered, *status, "{what} with its example: {body}");
            match schema(described, answered, &description) {
                Some(schema) => fits(&what, &schema, &body),
                None => assert_eq!(body, Value::Null, "{what}: {answered} is described without a body"),
            }
        }
        assert!(shown > 0, "no operation takes a body");
    }
}

/// The example of an operation's body.
fn example(described: &Value) -> Option<String> {
    Some(described["requestBody"]["content"]["application/json"].get("example")?.to_string())
}

/// The schema of an answer with this status; none if it has no body. It brings all that it mentions.
fn schema(described: &Value, status: u16, description: &Value) -> Option<Value> {
    let responses = &described["responses"];
    let status = status.to_string();
    let of_problem = &description["components"]["responses"]["Problem"];
    let response = responses.get(&status).unwrap_or(of_problem);
    let content = response["content"].as_object()?;
    let media_type = if status.starts_with('2') { "application/json" } else { "application/problem+json" };
    let schema =
        content.get(media_type).unwrap_or_else(|| panic!("{status} is described as {content:?}"))["schema"].clone();
    Some(json!({ "allOf": [schema], "components": description["components"] }))
}

fn fits(what: &str, schema: &Value, body: &Value) {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.enable_format_assertions();
    compiler.add_resource(NAME, schema.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let compiled = compiler.compile(NAME, &mut schemas).unwrap_or_else(|error| panic!("{what}: no schema: {error:#}"));
    let fits = schemas.validate(body, compiled).map_err(|wrong| format!("{wrong:#}"));
    assert_eq!(fits, Ok(()), "{what} answers what is not described: {body}");
}
