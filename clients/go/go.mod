module cloakroom.example/cloakroom

go 1.19
