from django.urls import path
from things import views

urlpatterns = [
    path("", views.home),
    path("health/", views.health),
    path("ready/", views.ready),
    path("metrics", views.metrics),
    path("count/", views.count),
]
