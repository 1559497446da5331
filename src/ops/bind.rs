//! bind: a connection, and the node that holds it, for a live session.

use crate::declared::{Declared, Moved};
use crate::error::Result;
use crate::holder::Holder;
use crate::id::{SessionId, Version};
use crate::operation::Operation;
use crate::routing::{check_name, require_name, some};
use crate::rules::ms;
use crate::script;
use crate::session::Session;
use crate::target::Target;

/// A connection to attach to a session.
///
/// ```
/// use cloakroom::Binding;
///
/// let binding = Binding::new("socket-17").node("gateway-3").take_over();
/// ```
#[derive(Clone, Debug)]
pub struct Binding {
    pub(crate) connection: String,
    pub(crate) node: String,
    pub(crate) takes_over: bool,
}

impl Binding {
    /// A connection id of 1 to 256 bytes.
    #[must_use]
    pub fn new(connection: impl Into<String>) -> Self {
        Self { connection: connection.into(), node: String::new(), takes_over: false }
    }

    /// The node that holds the connection. Defaults to none, and to the node that makes the call
    /// [as one](crate::SessionStore::as_node).
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = node.into();
        self
    }

    /// Takes the connection from another live session that has it, which is suspended then. Defaults to being refused.
    #[must_use]
    pub fn take_over(mut self) -> Self {
        self.takes_over = true;
        self
    }

    /// The same, checked, as the holder of a lease may make it.
    pub(crate) fn at(mut self, holder: Option<&Holder>) -> Result<Self> {
        self.check()?;
        Holder::name_node(holder, &mut self.node)?;
        Ok(self)
    }

    fn check(&self) -> Result<()> {
        require_name("connection id", &self.connection)?;
        check_name("node id", &self.node)
    }
}

/// What a bind came to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Bound {
    /// The session's id, a new one if it was rotated.
    pub id: SessionId,
    /// The version that it is at.
    pub version: Version,
    /// The connection that it had before. Close it, if it is another.
    pub previous_connection: Option<String>,
    /// The node that held it.
    pub previous_node: Option<String>,
    /// The session that lost the connection to this one.
    pub taken_from: Option<SessionId>,
    /// Expired sessions that were in the way, reaped by this call: no reaper will report them.
    pub reaped: Vec<Session>,
    /// False: it was so already, and nothing was written.
    pub changed: bool,
}

pub(crate) async fn run(operation: &Operation<'_>, target: &dyn Target, binding: Binding) -> Result<Bound> {
    let binding = binding.at(operation.holder())?;
    let mut declared = Declared::of(target, Moved::Follow);
    let call = |declared: &Declared| call(operation, declared, &binding);
    let mut reply = declared.settle(operation, &script::BIND, call).await?;
    if reply.word != "ok" && reply.word != "unchanged" {
        return Err(reply.into_error());
    }
    let changed = reply.word == "ok";
    let (version, connection, node, holder) = (reply.version()?, reply.text()?, reply.text()?, reply.text()?);
    Ok(Bound {
        id: declared.id,
        version,
        previous_connection: some(&connection).map(Into::into),
        previous_node: some(&node).map(Into::into),
        taken_from: some(&holder).map(SessionId::new).transpose()?,
        reaped: declared.reaped,
        changed,
    })
}

fn call(operation: &Operation<'_>, declared: &Declared, binding: &Binding) -> redis::Cmd {
    let keys = operation.keys();
    let old = &declared.routing;
    let holder_node = declared.holder_node();
    let names = [
        keys.session(declared.id.as_str()),
        keys.connection(&old.connection),
        keys.node(&old.node),
        keys.connection(&binding.connection),
        keys.node(&binding.node),
        declared.holder_key(operation),
        keys.node(holder_node),
        operation.fence_key(),
    ];
    let mut call = operation.call(&script::BIND, names.iter().map(String::as_str));
    call.arg(operation.id().as_bytes()).arg(declared.id.as_str()).arg(&old.connection).arg(&old.node);
    call.arg(&binding.connection).arg(&binding.node).arg(declared.holder_id()).arg(holder_node);
    call.arg(if binding.takes_over { "takeover" } else { "refuse" }).arg(ms(operation.rules().grace));
    operation.fence_arguments(&mut call);
    call
}
