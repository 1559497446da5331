//! Over a store of several partitions: this store refuses what that one would refuse, and a login in several steps
//! arrives whole.

use std::fmt::Debug;

use cloakroom::{Error, NewSession, Result, Rotation, SessionStore as _};

use super::{POLICY, World, red};
use crate::support::expect::session_id;

fn misfit<T: Debug>(result: Result<T>) -> String {
    match result {
        Err(Error::Invalid(invalid)) => invalid.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn an_id_that_does_not_fit_its_user_is_refused_here_as_it_is_there() {
    let world = World::spread(POLICY).await;
    let partitions = world.context.partitions();
    let (far, near) = (session_id(&partitions.far("device", "ann")), partitions.id_near("device", "ann"));
    let anonymous = world.store.create(NewSession::new().id(far.clone())).await.unwrap().session;
    let new = || NewSession::new().id(far.clone()).user("ann");
    let told = misfit(world.store.create(new()).await);
    world.cut_off().await;
    assert_eq!(misfit(world.store.create(new()).await), told);
    let fits = NewSession::new().id(near.clone()).user("ann");
    let mut many = world.store.create_many(vec![new(), fits]).await;
    many.pop().unwrap().unwrap();
    assert_eq!(misfit(many.pop().unwrap()), told);
    let mut changed = anonymous.clone();
    changed.set_user("ann");
    assert_eq!(misfit(world.store.update(&mut changed).await), told);
    assert_eq!(
        misfit(world.store.rotate(&anonymous, Rotation::new().user("ann").new_id(far.clone())).await),
        told
    );
    let stranger = session_id(&partitions.far("stranger", far.as_str()));
    assert!(
        misfit(world.store.rotate(&anonymous, Rotation::new().new_id(stranger)).await).contains("partition")
    );
    world.mend().await;
    let report = world.report().await;
    assert!(report.imported.contains(&near) && report.dropped.is_empty(), "{report:?}");
    assert_eq!(world.there(&far).await.unwrap().user(), None);
    world.context.check().await;
}

#[tokio::test]
async fn a_login_here_of_a_session_with_a_connection_is_one_there_in_another_partition() {
    let world = World::spread(POLICY).await;
    let partitions = world.context.partitions();
    for (number, changes_it) in [false, true].into_iter().enumerate() {
        let connection = format!("socket-{number}");
        let id = session_id(&partitions.far(&format!("device-{number}"), "ann"));
        let new = NewSession::new().id(id.clone()).connection(&*connection).node("n");
        let visitor = world.store.create(new).await.unwrap().session;
        world.cut_off().await;
        let login = world.store.rotate(&visitor, Rotation::new().user("ann")).await.unwrap().session;
        if changes_it {
            world.store.patch(&login, red()).await.unwrap();
        }
        world.mend().await;
        let report = world.report().await;
        assert_eq!(report.imported, [login.id().clone()], "{report:?}");
        let found = world.there(login.id()).await.unwrap();
        assert_eq!((found.user(), found.connection()), (Some("ann"), Some(&*connection)));
        assert_eq!(found.get::<String>("color").unwrap().is_some(), changes_it);
        world.assert_gone(&id).await;
        world.context.check().await;
    }
}
