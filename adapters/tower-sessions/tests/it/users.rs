//! The index of users, under all that a request may do.

use cloakroom::{OnLimit, Token};

use crate::support::{Place, places, rules};

/// The ids that a user's sessions have.
async fn ids(place: &Place, user: &str) -> Vec<String> {
    place.of_user(user).await.iter().map(|session| session.id().as_str().to_owned()).collect()
}

/// The id under which the session of a cookie is stored: what the README says.
fn stored(id: tower_sessions::session::Id) -> String {
    Token::parse(&format!("ckt_{id}{}", "A".repeat(21))).unwrap().id().as_str().to_owned()
}

#[tokio::test]
async fn a_login_lists_the_session_a_new_id_keeps_it_listed_and_a_logout_takes_it_off() {
    for place in places(rules()).await {
        let visitor = place.session(&[("cart", "umbrella")]).await;
        let login = place.request(Some(visitor));
        login.cycle_id().await.unwrap();
        login.insert("user", "ann").await.unwrap();
        login.save().await.unwrap();
        let session = login.id().unwrap();
        assert_eq!(ids(&place, "ann").await, [stored(session)]);
        assert_eq!(place.read(session, "cart").await.as_deref(), Some("umbrella"));
        assert!(!place.finds(visitor).await);

        let made = place.of_user("ann").await[0].created_at_ms();
        let again = place.request(Some(session));
        again.cycle_id().await.unwrap();
        again.insert("sudo", "yes").await.unwrap();
        again.save().await.unwrap();
        let session = again.id().unwrap();
        assert_eq!(ids(&place, "ann").await, [stored(session)]);
        assert_eq!(place.read(session, "sudo").await.as_deref(), Some("yes"));
        assert_eq!(place.of_user("ann").await[0].created_at_ms(), made, "its longest life goes on");

        place.request(Some(session)).flush().await.unwrap();
        assert!(ids(&place, "ann").await.is_empty());
        assert_eq!(place.read(session, "user").await, None);
    }
}

#[tokio::test]
async fn a_session_gets_its_user_and_loses_it_without_a_new_id_too() {
    // With several partitions another user may need another id, as the next test has it.
    for place in &places(rules()).await[..2] {
        let id = place.session(&[("cart", "umbrella")]).await;
        let request = place.request(Some(id));
        for user in ["ann", "bob"] {
            request.insert("user", user).await.unwrap();
            request.save().await.unwrap();
            assert_eq!(ids(place, user).await, [stored(id)]);
        }
        assert!(ids(place, "ann").await.is_empty());
        request.remove_value("user").await.unwrap();
        request.save().await.unwrap();
        assert!(ids(place, "bob").await.is_empty());
        assert_eq!(place.read(id, "cart").await.as_deref(), Some("umbrella"));
    }
}

#[tokio::test]
async fn another_user_is_another_session_and_nobody_keeps_the_rest() {
    for place in places(rules()).await {
        let ann = place.session(&[("user", "ann"), ("cart", "umbrella")]).await;
        let switch = place.request(Some(ann));
        switch.cycle_id().await.unwrap();
        switch.insert("user", "bob").await.unwrap();
        switch.save().await.unwrap();
        let bob = switch.id().unwrap();
        assert!(ids(&place, "ann").await.is_empty());
        assert_eq!(ids(&place, "bob").await, [stored(bob)]);

        let leave = place.request(Some(bob));
        leave.cycle_id().await.unwrap();
        leave.remove_value("user").await.unwrap();
        leave.save().await.unwrap();
        assert!(ids(&place, "bob").await.is_empty());
        assert_eq!(place.read(leave.id().unwrap(), "cart").await.as_deref(), Some("umbrella"));
        assert!(!place.finds(bob).await);
    }
}

#[tokio::test]
async fn one_session_more_than_a_user_may_have_ends_the_oldest_or_is_refused() {
    for place in places(rules().sessions_per_user(1, OnLimit::EvictOldest)).await {
        let first = place.session(&[("user", "ann")]).await;
        let second = place.session(&[("user", "ann")]).await;
        assert_eq!(ids(&place, "ann").await, [stored(second)]);
        assert_eq!(place.read(first, "user").await, None);
    }
    for place in places(rules().sessions_per_user(1, OnLimit::Reject)).await {
        let first = place.session(&[("user", "ann")]).await;
        let visitor = place.session(&[("cart", "umbrella")]).await;
        let login = place.request(Some(visitor));
        login.cycle_id().await.unwrap();
        login.insert("user", "ann").await.unwrap();
        assert!(login.save().await.unwrap_err().to_string().starts_with("refused: "));
        assert_eq!(ids(&place, "ann").await, [stored(first)]);
    }
}

#[tokio::test]
async fn a_request_may_give_the_session_that_it_made_another_id() {
    for place in places(rules()).await {
        let request = place.request(None);
        request.insert("user", "ann").await.unwrap();
        request.save().await.unwrap();
        request.insert("more", "x").await.unwrap();
        request.save().await.unwrap();
        request.cycle_id().await.unwrap();
        request.save().await.unwrap();
        let id = request.id().unwrap();
        assert_eq!(ids(&place, "ann").await, [stored(id)]);
        assert_eq!(place.read(id, "more").await.as_deref(), Some("x"));
    }
}
