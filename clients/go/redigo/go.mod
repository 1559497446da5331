module cloakroom.example/cloakroom/redigo

go 1.19

require (
	cloakroom.example/cloakroom v0.0.0
	github.com/gomodule/redigo v1.8.3
)

replace cloakroom.example/cloakroom => ../
