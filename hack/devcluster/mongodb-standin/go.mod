module raftery.dev/hack/mongodb-standin

go 1.26.0
