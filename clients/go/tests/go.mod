module cloakroom.example/cloakroom/tests

go 1.19

require (
	cloakroom.example/cloakroom v0.0.0
	cloakroom.example/cloakroom/redigo v0.0.0
	github.com/gomodule/redigo v1.8.3
)

replace cloakroom.example/cloakroom => ../

replace cloakroom.example/cloakroom/redigo => ../redigo
